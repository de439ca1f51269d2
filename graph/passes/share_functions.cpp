#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"
#include "graph/costly.h"
#include "graph/passes/passes.h"
#include "graph/passes/tails.h"
#include "graph/plan.h"

namespace blockgrad {

namespace {

// What a formula with more results reads and writes must stay few streams of memory.
constexpr std::size_t most_streams = 12;

class Sharing {
 public:
  explicit Sharing(const Graph& graph)
      : graph_(graph),
        tails_(find_tails(graph)),
        numbers_(graph.nodes.size()),
        changes_(graph.nodes.size()),
        readers_(graph.nodes.size()) {}

  Graph run() {
    note_readers();
    for (std::int32_t i = 0; i < size(); ++i) {
      if (!map_of(i)) continue;
      number(i);
      share(i);
      note_functions(i);
    }
    Rewrite rewrite(graph_);
    for (std::int32_t i = 0; i < size(); ++i) {
      if (change(i).is_empty()) rewrite.keep(i);
      else emit(rewrite, i);
    }
    return rewrite.finish();
  }

  bool has_shared() const { return has_shared_; }

 private:
  // The result of an earlier Map, or a value inside of it that becomes one.
  struct Source {
    std::int32_t node = -1, instr = -1;
  };
  struct Change {
    std::vector<std::int32_t> given;  // instructions whose values are results too
    std::vector<std::pair<std::int32_t, Source>> taken;  // instructions whose values are read

    bool is_empty() const { return given.empty() && taken.empty(); }
  };

  std::int32_t size() const { return static_cast<std::int32_t>(graph_.nodes.size()); }
  const GraphNode& at(std::int32_t i) const { return graph_.nodes[static_cast<std::size_t>(i)]; }
  Change& change(std::int32_t i) { return changes_[static_cast<std::size_t>(i)]; }
  // Maps that make new values of storage stay as they are.
  const Map* map_of(std::int32_t i) const {
    return tails_[static_cast<std::size_t>(i)].is_tail ? nullptr : at(i).op.as<Map>();
  }

  // The nodes that read a value, if only through a View, by the node that made it.
  void note_readers() {
    for (std::int32_t i = 0; i < size(); ++i) {
      if (at(i).op.as<View>()) continue;
      for (const Value v : at(i).inputs)
        readers_[static_cast<std::size_t>(graph_.base(v).node)].push_back(i);
    }
    for (const Value v : graph_.outputs)
      readers_[static_cast<std::size_t>(graph_.base(v).node)].push_back(size());
    for (const GraphUpdate& u : graph_.updates)
      readers_[static_cast<std::size_t>(graph_.base(u.value).node)].push_back(size());
  }

  // Equal instructions on equal values have equal numbers, in all Maps.
  void number(std::int32_t i) {
    std::vector<std::int32_t>& own = numbers_[static_cast<std::size_t>(i)];
    for (const ScalarInstr& instr : map_of(i)->fn.code()) {
      if (instr.op == ScalarOp::input) {
        own.push_back(number_of(at(i).inputs[static_cast<std::size_t>(instr.bits)]));
        continue;
      }
      Key key{static_cast<std::int64_t>(instr.op), static_cast<std::int64_t>(instr.dtype),
              static_cast<std::int64_t>(instr.bits)};
      for (int a = 0; a < arity(instr.op); ++a)
        key[static_cast<std::size_t>(3 + a)] =
            own[static_cast<std::size_t>(instr.args[static_cast<std::size_t>(a)])];
      // The number of an element says where it lies, so it is one of this Map.
      if (instr.op == ScalarOp::flat_index) key[3] = i;
      own.push_back(fresh(key));
    }
  }

  std::int32_t number_of(Value v) {
    const std::vector<std::int32_t>& made = numbers_[static_cast<std::size_t>(v.node)];
    if (!made.empty()) {
      const ScalarFn& fn = map_of(v.node)->fn;
      return made[static_cast<std::size_t>(fn.results()[static_cast<std::size_t>(v.result)])];
    }
    return fresh({-1, v.node, v.result});
  }

  using Key = std::array<std::int64_t, 6>;
  std::int32_t fresh(const Key& key) {
    return known_.emplace(key, static_cast<std::int32_t>(known_.size())).first->second;
  }

  void note_functions(std::int32_t i) {
    const std::span<const ScalarInstr> code = map_of(i)->fn.code();
    for (std::size_t j = 0; j < code.size(); ++j) {
      if (!is_costly(code[j].op)) continue;
      functions_.emplace(numbers_[static_cast<std::size_t>(i)][j],
                         Source{i, static_cast<std::int32_t>(j)});
    }
  }

  // What a Map reads if it takes some values instead of computing them.
  struct Reads {
    std::vector<std::int32_t> numbers;  // of all that it reads
    std::vector<std::int32_t> taken;    // instructions
    std::vector<char> inputs;           // whether it still reads each
  };

  Reads reads(std::int32_t i, const std::vector<char>& takes) const {
    const ScalarFn& fn = map_of(i)->fn;
    const std::vector<std::int32_t>& numbers = numbers_[static_cast<std::size_t>(i)];
    Reads found;
    found.inputs.assign(fn.inputs().size(), 0);
    std::vector<char> is_seen(fn.code().size(), 0);
    std::vector<std::int32_t> open(fn.results().begin(), fn.results().end());
    while (!open.empty()) {
      const std::int32_t j = open.back();
      open.pop_back();
      if (std::exchange(is_seen[static_cast<std::size_t>(j)], char{1})) continue;
      const ScalarInstr& instr = fn.code()[static_cast<std::size_t>(j)];
      const bool is_taken = takes[static_cast<std::size_t>(j)] != 0;
      if (is_taken) found.taken.push_back(j);
      if (instr.op == ScalarOp::input) found.inputs[static_cast<std::size_t>(instr.bits)] = 1;
      if (is_taken || instr.op == ScalarOp::input)
        found.numbers.push_back(numbers[static_cast<std::size_t>(j)]);
      for (int a = 0; !is_taken && a < arity(instr.op); ++a)
        open.push_back(instr.args[static_cast<std::size_t>(a)]);
    }
    std::sort(found.numbers.begin(), found.numbers.end());
    found.numbers.erase(std::unique(found.numbers.begin(), found.numbers.end()),
                        found.numbers.end());
    return found;
  }

  void share(std::int32_t i) {
    const std::span<const ScalarInstr> code = map_of(i)->fn.code();
    std::vector<char> takes(code.size(), 0);
    for (std::size_t j = 0; j < code.size(); ++j)
      takes[j] =
          is_costly(code[j].op) && functions_.count(numbers_[static_cast<std::size_t>(i)][j]) > 0;
    const Reads before = reads(i, std::vector<char>(code.size(), 0));
    Reads now = reads(i, takes);
    while (!now.taken.empty() && !saves(i, before, now)) {
      if (!drop_one(i, before, now, takes)) return;
      now = reads(i, takes);
    }
    std::sort(now.taken.begin(), now.taken.end());
    take(i, now);
  }

  // What is taken must replace what was read, so that no more is kept for it.
  bool saves(std::int32_t i, const Reads& before, const Reads& now) const {
    return now.numbers.size() <= before.numbers.size() && lives_on(i, before, now) < 0;
  }

  // An input that the Map no longer reads, but which is kept for others; -1 for none.
  int lives_on(std::int32_t i, const Reads& before, const Reads& now) const {
    std::int32_t last = -1;
    for (const std::int32_t j : now.taken) last = std::max(last, source_of(i, j).node);
    for (std::size_t n = 0; n < before.inputs.size(); ++n) {
      if (!before.inputs[n] || now.inputs[n]) continue;
      const Value v = graph_.base(at(i).inputs[n]);
      if (is_leaf(graph_.node(v)) || graph_.type(v).shape.size() < at(i).types[0].shape.size())
        return static_cast<int>(n);
      if (last_reader(v.node, i) > last) return static_cast<int>(n);
    }
    return -1;
  }

  // The last node that reads one of `node`'s results, other than `but`; -1 for none.
  std::int32_t last_reader(std::int32_t node, std::int32_t but) const {
    const std::vector<std::int32_t>& all = readers_[static_cast<std::size_t>(node)];  // in order
    const auto last = std::find_if(all.rbegin(), all.rend(),
                                   [but](std::int32_t reader) { return reader != but; });
    return last == all.rend() ? -1 : *last;
  }

  // Computes one value itself again: one that is in the way.
  bool drop_one(std::int32_t i, const Reads& before, const Reads& now,
                std::vector<char>& takes) const {
    const int kept = lives_on(i, before, now);
    for (const std::int32_t j : now.taken) {
      takes[static_cast<std::size_t>(j)] = 0;
      const Reads fewer = reads(i, takes);
      if (kept >= 0 ? fewer.inputs[static_cast<std::size_t>(kept)] != 0
                    : fewer.numbers.size() < now.numbers.size())
        return true;
      takes[static_cast<std::size_t>(j)] = 1;
    }
    return false;
  }

  Source source_of(std::int32_t i, std::int32_t instr) const {
    return functions_.at(numbers_[static_cast<std::size_t>(i)][static_cast<std::size_t>(instr)]);
  }

  void take(std::int32_t i, const Reads& now) {
    std::map<std::int32_t, std::size_t> streams;  // of the Maps that give
    for (const std::int32_t j : now.taken) {
      const Source from = source_of(i, j);
      const std::size_t own = at(from.node).inputs.size() + at(from.node).types.size();
      streams.try_emplace(from.node, own + change(from.node).given.size());
      if (!is_given(from)) ++streams[from.node];
    }
    for (const auto& [node, count] : streams) {
      if (count > most_streams) return;
    }
    for (const std::int32_t j : now.taken) {
      const Source from = source_of(i, j);
      if (!is_given(from)) change(from.node).given.push_back(from.instr);
      change(i).taken.emplace_back(j, from);
      has_shared_ = true;
    }
  }

  // Whether a value is a result, or becomes one.
  bool is_given(Source s) {
    const std::span<const std::int32_t> results = map_of(s.node)->fn.results();
    const std::vector<std::int32_t>& given = change(s.node).given;
    return std::find(results.begin(), results.end(), s.instr) != results.end() ||
           std::find(given.begin(), given.end(), s.instr) != given.end();
  }

  Value place_of(const Rewrite& rewrite, Source s) const {
    const auto given = places_.find({s.node, s.instr});
    if (given != places_.end()) return given->second;
    const std::span<const std::int32_t> results = map_of(s.node)->fn.results();
    const auto r = std::find(results.begin(), results.end(), s.instr) - results.begin();
    return rewrite.renamed({s.node, static_cast<std::int32_t>(r)});
  }

  void emit(Rewrite& rewrite, std::int32_t i) {
    const GraphNode& node = at(i);
    const Map& map = *map_of(i);
    const Change& own = change(i);
    std::vector<DType> dtypes(map.fn.inputs().begin(), map.fn.inputs().end());
    std::vector<Value> inputs;  // of the new graph
    for (const Value v : node.inputs) inputs.push_back(rewrite.renamed(v));
    std::vector<std::int32_t> input_of(map.fn.code().size(), -1);
    for (const auto& [instr, from] : own.taken) {
      input_of[static_cast<std::size_t>(instr)] = static_cast<std::int32_t>(inputs.size());
      inputs.push_back(place_of(rewrite, from));
      dtypes.push_back(map.fn.code()[static_cast<std::size_t>(instr)].dtype);
    }
    ScalarRecorder recorder(dtypes);
    std::vector<Scalar> values;
    for (std::size_t j = 0; j < map.fn.code().size(); ++j) {
      const ScalarInstr& instr = map.fn.code()[j];
      std::array<Scalar, 3> args{0, 0, 0};
      const auto count = static_cast<std::size_t>(arity(instr.op));
      for (std::size_t a = 0; a < count; ++a)
        args[a] = values[static_cast<std::size_t>(instr.args[a])];
      if (input_of[j] >= 0) values.push_back(recorder.input(input_of[j]));
      else if (instr.op == ScalarOp::input)
        values.push_back(recorder.input(static_cast<int>(instr.bits)));
      else if (instr.op == ScalarOp::constant)
        values.push_back(recorder.constant_bits(instr.bits, instr.dtype));
      else values.push_back(recorder.again(instr, std::span(args).first(count)));
    }
    std::vector<std::int32_t> leaving(map.fn.results().begin(), map.fn.results().end());
    leaving.insert(leaving.end(), own.given.begin(), own.given.end());
    std::vector<Scalar> results;
    std::vector<TensorType> types = node.types;
    for (const std::int32_t j : leaving) results.push_back(values[static_cast<std::size_t>(j)]);
    for (const std::int32_t j : own.given)
      types.push_back({map.fn.code()[static_cast<std::size_t>(j)].dtype, node.types[0].shape});
    std::vector<int> kept;
    const ScalarFn fn = without_unused_inputs(recorder.finish(results), kept);
    std::vector<Value> operands;
    for (const int k : kept) operands.push_back(inputs[static_cast<std::size_t>(k)]);
    const std::int32_t made =
        rewrite.add({Map{fn, map.short_name}, operands, types, node.origin, node.is_repeat});
    for (std::size_t r = 0; r < leaving.size(); ++r) {
      const Value place{made, static_cast<std::int32_t>(r)};
      if (r < node.types.size()) rewrite.rename({i, place.result}, place);
      places_.emplace(std::pair{i, leaving[r]}, place);
    }
  }

  const Graph& graph_;
  bool has_shared_ = false;
  const std::vector<Tail> tails_;
  std::vector<std::vector<std::int32_t>> numbers_;  // of each instruction of each Map
  std::vector<Change> changes_;
  std::vector<std::vector<std::int32_t>> readers_;
  std::map<Key, std::int32_t> known_;
  std::map<std::int32_t, Source> functions_;  // by number: who computes it first
  std::map<std::pair<std::int32_t, std::int32_t>, Value> places_;
};

}  // namespace

// What is taken may be wider than what it replaces, or may not lie in its place: so the whole is
// weighed, in the order that it will run in.
Graph share_functions(const Graph& graph) {
  Sharing sharing(graph);
  Graph shared = sharing.run();
  if (!sharing.has_shared() || live_bytes(shorten_lives(shared)) > live_bytes(shorten_lives(graph)))
    return graph;
  return shared;
}

}  // namespace blockgrad
