#include <algorithm>
#include <unordered_map>

#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"
#include "graph/passes/clusters.h"
#include "graph/passes/passes.h"
#include "graph/passes/tails.h"

namespace blockgrad {

namespace {

constexpr std::size_t most_instructions = 256;
// Values that a fused sweep reads from or writes to memory, element by element; and what it reads
// in all.
constexpr std::int64_t most_streams = 12;
constexpr std::size_t most_reads = 32;

class Fusion {
 public:
  Fusion(const Graph& graph, FusionLog* log)
      : graph_(graph),
        log_(log),
        clusters_(graph.nodes.size()),
        outside_(use_counts(graph)),
        tail_(find_tails(graph)) {}

  Graph run() {
    const std::vector<std::int32_t> chains = find_chains(graph_);
    for (std::int32_t i = 0; i < size(); ++i) {
      const GraphNode& node = at(i);
      if (chains[static_cast<std::size_t>(i)] == i) reserve_for(i, chains);
      if (!node.op.as<Map>()) clusters_.add_plain(i, node.inputs);
      else add_map(i);
      for (const Value v : node.inputs) last_reader_[key(v)] = i;
    }
    return rebuilt();
  }

 private:
  std::int32_t size() const { return static_cast<std::int32_t>(graph_.nodes.size()); }
  const GraphNode& at(std::int32_t i) const { return graph_.nodes[static_cast<std::size_t>(i)]; }
  static std::int64_t key(Value v) { return std::int64_t{v.node} << 32 | v.result; }
  const Shape& shape(std::int32_t i) const { return at(i).types[0].shape; }
  std::span<const std::int32_t> members(std::int32_t cluster) const {
    return clusters_.members()[static_cast<std::size_t>(cluster)];
  }

  // A chain that began with open clusters is not cut in two.
  void reserve_for(std::int32_t first, const std::vector<std::int32_t>& chains) {
    const auto begin = chains.begin() + first;
    const auto end = std::find_if(begin, chains.end(), [&](auto chain) { return chain != first; });
    clusters_.reserve(
        std::min<std::int32_t>(static_cast<std::int32_t>(end - begin), Clusters::most_open));
  }

  void add_map(std::int32_t i) {
    const std::int32_t cluster = best_cluster(i);
    if (cluster >= 0) join_others_it_reads(i, cluster);
    if (log_) note_refusals(i, cluster);
    if (cluster >= 0) {
      enter(i, cluster);
      clusters_.join(i, at(i).inputs, cluster);
    } else {
      enter(i, static_cast<std::int32_t>(sweeps_.size()));
      clusters_.open(i, at(i).inputs);
    }
  }

  // Clusters this Map reads from come first, then those that read the same values.
  std::int32_t best_cluster(std::int32_t i) {
    for (const Value v : at(i).inputs) {
      if (why_apart(i, clusters_.cluster_of(v.node)).empty()) return clusters_.cluster_of(v.node);
    }
    for (const Value v : at(i).inputs) {
      if (is_number(v)) continue;
      const auto reader = last_reader_.find(key(v));
      if (reader == last_reader_.end()) continue;
      const std::int32_t cluster = clusters_.cluster_of(reader->second);
      if (why_apart(i, cluster).empty()) return cluster;
    }
    return -1;
  }

  // A Map that reads two clusters makes them one where it can, so that neither writes for it.
  void join_others_it_reads(std::int32_t i, std::int32_t cluster) {
    for (const Value v : at(i).inputs) {
      const std::int32_t other = clusters_.cluster_of(v.node);
      if (other < 0 || other == cluster || !clusters_.is_open(other)) continue;
      if (!is_alike(members(cluster)[0], members(other)[0])) continue;
      if (!clusters_.may_merge(graph_, cluster, other, i)) continue;
      const Sweep sweep = joint(cluster, other);
      if (!fits(sweep) || !fits(with(i, cluster, sweep, other))) continue;
      for (const std::int32_t c : {cluster, other}) {
        for (const std::int32_t m : members(c)) {
          for (const Value in : at(m).inputs) {
            if (clusters_.cluster_of(in.node) == (c == cluster ? other : cluster)) --outside_[in];
          }
        }
      }
      sweeps_[static_cast<std::size_t>(cluster)] = sweep;
      clusters_.merge(cluster, other);
    }
  }

  // What a cluster's fused sweep would read, write and compute.
  struct Sweep {
    std::vector<Value> reads;
    std::int64_t writes = 0;
    std::size_t instructions = 0;
  };

  Sweep with(std::int32_t i, std::int32_t cluster) const {
    return with(i, cluster,
                cluster < static_cast<std::int32_t>(sweeps_.size())
                    ? sweeps_[static_cast<std::size_t>(cluster)]
                    : Sweep{},
                cluster);
  }
  // Of a cluster that is about to take in another one.
  Sweep with(std::int32_t i, std::int32_t cluster, Sweep sweep, std::int32_t other) const {
    sweep.instructions += at(i).op.as<Map>()->fn.code().size();
    sweep.writes += static_cast<std::int64_t>(at(i).types.size());
    const std::vector<Value>& inputs = at(i).inputs;
    for (auto v = inputs.begin(); v != inputs.end(); ++v) {
      const std::int32_t source = clusters_.cluster_of(v->node);
      const bool inside = source >= 0 && (source == cluster || source == other);
      if (inside) {
        const bool first = std::find(inputs.begin(), v, *v) == v;
        const auto times = std::count(inputs.begin(), inputs.end(), *v);
        if (first && outside_[*v] == times) --sweep.writes;
      } else if (std::find(sweep.reads.begin(), sweep.reads.end(), *v) == sweep.reads.end()) {
        sweep.reads.push_back(*v);
      }
    }
    return sweep;
  }

  // Of two clusters together: what one reads from the other stays inside, and is not written if
  // nobody else reads it.
  Sweep joint(std::int32_t a, std::int32_t b) const {
    Sweep sweep;
    std::unordered_map<std::int64_t, int> inner;  // reads between the two
    for (const std::int32_t c : {a, b}) {
      const Sweep& own = sweeps_[static_cast<std::size_t>(c)];
      sweep.instructions += own.instructions;
      sweep.writes += own.writes;
      for (const Value v : own.reads) {
        const std::int32_t source = clusters_.cluster_of(v.node);
        const bool inside = source >= 0 && (source == a || source == b);
        if (!inside && std::find(sweep.reads.begin(), sweep.reads.end(), v) == sweep.reads.end())
          sweep.reads.push_back(v);
      }
      for (const std::int32_t m : members(c)) {
        for (const Value v : at(m).inputs) {
          if (clusters_.cluster_of(v.node) == (c == a ? b : a) && ++inner[key(v)] == outside_[v])
            --sweep.writes;
        }
      }
    }
    return sweep;
  }

  // One number for all elements.
  bool is_number(Value v) const {
    if (graph_.type(v).shape.size() <= 1) return true;
    const View* view = at(v.node).op.as<View>();
    if (!view) return false;
    const auto strides = view->layout.strides;
    return std::all_of(strides.begin(), strides.begin() + view->layout.shape.rank(),
                       [](std::int64_t stride) { return stride == 0; });
  }
  bool has_few_streams(const Sweep& sweep) const {
    const auto numbers = std::count_if(sweep.reads.begin(), sweep.reads.end(),
                                       [&](Value v) { return is_number(v); });
    const auto reads = static_cast<std::int64_t>(sweep.reads.size());
    return sweep.reads.size() <= most_reads && reads - numbers + sweep.writes <= most_streams;
  }
  bool fits(const Sweep& sweep) const {
    return sweep.instructions <= most_instructions && has_few_streams(sweep);
  }

  bool is_alike(std::int32_t a, std::int32_t b) const {
    return shape(a) == shape(b) &&
           tail_[static_cast<std::size_t>(a)] == tail_[static_cast<std::size_t>(b)];
  }

  // Why a Map cannot join a cluster; "" if it can.
  std::string_view why_apart(std::int32_t i, std::int32_t cluster) const {
    if (cluster < 0) return "one of them is not elementwise";
    if (!clusters_.is_open(cluster)) return "too many kernels lie between them";
    const std::int32_t member = clusters_.members()[static_cast<std::size_t>(cluster)][0];
    if (!(shape(member) == shape(i))) return "their shapes differ";
    if (!(tail_[static_cast<std::size_t>(member)] == tail_[static_cast<std::size_t>(i)]))
      return "one is an update, which runs last and in place";
    const Sweep sweep = with(i, cluster);
    if (sweep.instructions > most_instructions) return "the formula would be too long";
    if (!has_few_streams(sweep)) return "too many values would be read and written at once";
    if (!clusters_.may_join(at(i).inputs, cluster)) return "something between them needs the first";
    return {};
  }

  void note_refusals(std::int32_t i, std::int32_t chosen) {
    for (const Value v : at(i).inputs) {
      const bool is_view = at(v.node).op.as<View>() != nullptr;
      const std::int32_t source = is_view ? at(v.node).inputs[0].node : v.node;
      const std::int32_t cluster = clusters_.cluster_of(source);
      if (cluster < 0 || cluster == chosen) continue;
      const std::string_view why = why_apart(i, cluster);
      log_->refusals.push_back({i, source,
                                is_view       ? "it is read in another layout or shape"
                                : why.empty() ? "it joined another one first"
                                              : why});
    }
  }

  void enter(std::int32_t i, std::int32_t cluster) {
    Sweep sweep = with(i, cluster);
    if (cluster == static_cast<std::int32_t>(sweeps_.size())) sweeps_.emplace_back();
    sweeps_[static_cast<std::size_t>(cluster)] = std::move(sweep);
    for (const Value v : at(i).inputs) {
      if (clusters_.cluster_of(v.node) == cluster) --outside_[v];
    }
  }

  Graph rebuilt() {
    Rewrite rewrite(graph_);
    const auto members = [&](const std::int32_t& i) {
      const std::int32_t c = clusters_.cluster_of(i);
      return c < 0 ? std::span(&i, 1) : std::span(clusters_.members()[static_cast<std::size_t>(c)]);
    };
    const auto is_inside = [&](std::int32_t m, Value v) {
      const std::int32_t c = clusters_.cluster_of(m);
      return c >= 0 && clusters_.cluster_of(v.node) == c;
    };
    for_each_ready_group(graph_, members, is_inside, [&](std::span<const std::int32_t> group) {
      if (log_ && group.size() > 1) log_->groups.emplace_back(group.begin(), group.end());
      if (group.size() == 1) rewrite.keep(group[0]);
      else emit(rewrite, clusters_.cluster_of(group[0]), group);
    });
    return rewrite.finish();
  }

  void emit(Rewrite& rewrite, std::int32_t cluster, std::span<const std::int32_t> members) const {
    std::vector<Value> inputs;  // of the new graph
    std::vector<DType> dtypes;
    for (const std::int32_t m : members) {
      for (const Value v : at(m).inputs) {
        if (clusters_.cluster_of(v.node) == cluster) continue;
        const Value in = rewrite.renamed(v);
        if (std::find(inputs.begin(), inputs.end(), in) != inputs.end()) continue;
        inputs.push_back(in);
        dtypes.push_back(graph_.type(v).dtype);
      }
    }
    ScalarRecorder recorder(dtypes);
    std::unordered_map<std::int64_t, Scalar> values;
    std::vector<Value> leaving;
    std::vector<Scalar> results;
    for (const std::int32_t m : members) {
      std::vector<Scalar> args;
      for (const Value v : at(m).inputs) {
        if (clusters_.cluster_of(v.node) == cluster) {
          args.push_back(values.at(key(v)));
        } else {
          const auto where = std::find(inputs.begin(), inputs.end(), rewrite.renamed(v));
          args.push_back(recorder.input(static_cast<int>(where - inputs.begin())));
        }
      }
      const std::vector<Scalar> made = recorder.inlined(at(m).op.as<Map>()->fn, args);
      for (std::size_t r = 0; r < made.size(); ++r) {
        const Value v{m, static_cast<std::int32_t>(r)};
        values.emplace(key(v), made[r]);
        if (outside_[v] == 0) continue;
        leaving.push_back(v);
        results.push_back(made[r]);
      }
    }
    std::vector<int> kept;
    const ScalarFn fn = without_unused_inputs(recorder.finish(results), kept);
    std::vector<Value> operands;
    for (const int i : kept) operands.push_back(inputs[static_cast<std::size_t>(i)]);
    std::vector<TensorType> types;
    for (std::size_t r = 0; r < results.size(); ++r)
      types.push_back({fn.result_dtype(static_cast<int>(r)), shape(members[0])});
    const std::int32_t made =
        rewrite.add({Map{fn, "fused map"}, operands, types, at(members.back()).origin});
    for (std::size_t r = 0; r < leaving.size(); ++r)
      rewrite.rename(leaving[r], {made, static_cast<std::int32_t>(r)});
  }

  const Graph& graph_;
  FusionLog* const log_;
  Clusters clusters_;
  ValueTable<std::int32_t> outside_;  // reads of each value from outside its cluster
  std::vector<Sweep> sweeps_;         // per cluster
  std::vector<Tail> tail_;            // per node
  std::unordered_map<std::int64_t, std::int32_t> last_reader_;
};

}  // namespace

Graph fuse_maps(const Graph& graph, FusionLog* log) {
  std::vector<std::int32_t> before;
  const Graph ordered = tails_last(graph, before);
  Graph fused = Fusion(ordered, log).run();
  if (!log) return fused;
  const auto translate = [&](std::int32_t& node) { node = before[static_cast<std::size_t>(node)]; };
  for (std::vector<std::int32_t>& group : log->groups)
    std::for_each(group.begin(), group.end(), translate);
  for (FusionLog::Refusal& refusal : log->refusals) {
    translate(refusal.reader);
    translate(refusal.source);
  }
  return fused;
}

}  // namespace blockgrad
