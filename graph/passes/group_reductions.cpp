// Norms, losses and finite checks reduce whole values to a number. One by one they are a kernel of
// one part each, behind a Map that writes what only they read.
#include <algorithm>
#include <optional>

#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"
#include "graph/passes/clusters.h"
#include "graph/passes/passes.h"
#include "graph/passes/tails.h"
#include "graph/reduce_group.h"

namespace blockgrad {

namespace {

// A larger value is reduced alone, on all threads: best while what made it is in the cache.
constexpr std::int64_t most_together = 32768;  // elements
constexpr std::int64_t least_elements = 1024;  // of a group of several

// A Reduce of a whole value, with the Map that nothing else reads as its formula.
struct Reduction {
  ScalarFn fn;
  ReduceKind kind = ReduceKind::sum;
  std::vector<Value> inputs;
  bool joins = false;  // others like it: it is small, and what it reads is there to the end anyway
};

// Halves are added up as f32.
ScalarFn widened(const ScalarFn& fn) {
  ScalarRecorder recorder(fn.inputs());
  std::vector<Scalar> args;
  for (std::size_t n = 0; n < fn.inputs().size(); ++n)
    args.push_back(recorder.input(static_cast<int>(n)));
  const Scalar results[] = {recorder.cast(recorder.inlined(fn, args)[0], DType::f32)};
  return recorder.finish(results);
}

class ReductionGroups {
 public:
  explicit ReductionGroups(const Graph& graph)
      : graph_(graph),
        clusters_(graph.nodes.size()),
        uses_(use_counts(graph)),
        reductions_(graph.nodes.size()) {
    find_lasting();
  }

  Graph run() {
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(graph_.nodes.size()); ++i) {
      if (std::optional<Reduction> found = reduction(i)) {
        reductions_[index(i)] = std::move(*found);
        add(i);
      } else {
        clusters_.add_plain(i, at(i).inputs);
      }
    }
    return rebuilt();
  }

 private:
  static std::size_t index(std::int32_t i) { return static_cast<std::size_t>(i); }
  const GraphNode& at(std::int32_t i) const { return graph_.nodes[index(i)]; }
  const Reduction& of(std::int32_t i) const { return reductions_[index(i)]; }
  std::int64_t elements(std::int32_t i) const { return graph_.type(at(i).inputs[0]).shape.size(); }

  // Values that updates read, or that lie in storage: reading them late keeps nothing alive.
  void find_lasting() {
    const std::vector<Tail> tails = find_tails(graph_);
    lasts_.assign(graph_.nodes.size(), 0);
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
      if (is_leaf(graph_.nodes[i])) lasts_[i] = 1;
      if (!tails[i].is_tail) continue;
      for (const Value v : graph_.nodes[i].inputs) lasts_[index(graph_.base(v).node)] = 1;
    }
    for (const Value v : graph_.outputs) lasts_[index(graph_.base(v).node)] = 1;
  }

  std::optional<Reduction> reduction(std::int32_t i) const {
    const Reduce* reduce = at(i).op.as<Reduce>();
    if (!reduce || at(i).types[0].shape.size() != 1 || elements(i) < 2) return std::nullopt;
    if (reduce->kind == ReduceKind::argmax || reduce->kind == ReduceKind::argmin)
      return std::nullopt;
    Reduction found;
    found.kind = reduce->kind;
    const Value v = at(i).inputs[0];
    const Map* map = graph_.node(v).op.as<Map>();
    const bool is_own =
        map && map->short_name != "copy" && map->fn.results().size() == 1 && uses_[v] == 1;
    if (is_own) {
      found.fn = map->fn;
      found.inputs = graph_.node(v).inputs;
    } else {
      const DType dtypes[] = {graph_.type(v).dtype};
      ScalarRecorder recorder(dtypes);
      const Scalar results[] = {recorder.input(0)};
      found.fn = recorder.finish(results);
      found.inputs = {v};
    }
    if (is_half(graph_.type(v).dtype)) found.fn = widened(found.fn);
    const auto lasts = [&](Value in) { return lasts_[index(graph_.base(in).node)] != 0; };
    found.joins = elements(i) <= most_together &&
                  std::all_of(found.inputs.begin(), found.inputs.end(), lasts);
    return found;
  }

  void add(std::int32_t i) {
    const Reduction& mine = of(i);
    auto cluster = static_cast<std::int32_t>(clusters_.members().size());
    while (mine.joins && --cluster >= 0 && clusters_.is_open(cluster)) {
      const Reduction& first = of(clusters_.members()[index(cluster)][0]);
      const bool is_alike = first.joins && first.kind == mine.kind && first.fn == mine.fn;
      if (!is_alike || !clusters_.may_join(mine.inputs, cluster)) continue;
      clusters_.join(i, mine.inputs, cluster);
      return;
    }
    clusters_.open(i, mine.inputs);
  }

  Graph rebuilt() {
    std::vector<char> grouped(graph_.nodes.size(), 0);
    for (const std::vector<std::int32_t>& cluster : clusters_.members()) {
      std::int64_t all = 0;
      for (const std::int32_t m : cluster) all = checked_add(all, elements(m));
      const bool is_group = all > (cluster.size() > 1 ? least_elements : most_together);
      for (const std::int32_t m : cluster) grouped[index(m)] = is_group;
    }
    Rewrite rewrite(graph_);
    const auto members = [&](const std::int32_t& i) {
      return grouped[index(i)] ? std::span(clusters_.members()[index(clusters_.cluster_of(i))])
                               : std::span(&i, 1);
    };
    const auto inside = [](std::int32_t, Value) { return false; };
    for_each_ready_group(graph_, members, inside, [&](std::span<const std::int32_t> nodes) {
      if (grouped[index(nodes[0])]) emit(rewrite, nodes);
      else rewrite.keep(nodes[0]);
    });
    return rewrite.finish();
  }

  void emit(Rewrite& rewrite, std::span<const std::int32_t> nodes) const {
    ReduceGroup group{of(nodes[0]).fn, of(nodes[0]).kind, {}};
    GraphNode made{group, {}, {}, at(nodes[0]).origin};
    for (const std::int32_t n : nodes) {
      group.shapes.push_back(at(n).types[0].shape);
      for (const Value v : of(n).inputs) made.inputs.push_back(rewrite.renamed(v));
      made.types.push_back(at(n).types[0]);
    }
    made.op = group;
    const std::int32_t number = rewrite.add(std::move(made));
    for (std::size_t s = 0; s < nodes.size(); ++s)
      rewrite.rename({nodes[s], 0}, {number, static_cast<std::int32_t>(s)});
  }

  const Graph& graph_;
  Clusters clusters_;
  const ValueTable<std::int32_t> uses_;
  std::vector<Reduction> reductions_;  // per node
  std::vector<char> lasts_;            // per node
};

}  // namespace

Graph group_reductions(const Graph& graph) { return ReductionGroups(graph).run(); }

}  // namespace blockgrad
