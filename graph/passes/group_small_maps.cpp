// A device that starts each kernel at a price runs the counters and corrections of all parameters,
// a number or two each, as one.
#include <algorithm>

#include "blockgrad/graph/map.h"
#include "graph/map_group.h"
#include "graph/passes/clusters.h"
#include "graph/passes/passes.h"

namespace blockgrad {

namespace {

constexpr std::int64_t most_elements = 256;  // of a value: starting a kernel costs more

class SmallMapGroups {
 public:
  explicit SmallMapGroups(const Graph& graph) : graph_(graph), clusters_(graph.nodes.size()) {
    find_updates();
  }

  Graph run() {
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(graph_.nodes.size()); ++i) {
      if (is_small(i)) add(i);
      else clusters_.add_plain(i, at(i).inputs);
    }
    Rewrite rewrite(graph_);
    const auto members = [&](const std::int32_t& i) {
      const std::int32_t cluster = clusters_.cluster_of(i);
      return cluster < 0 ? std::span(&i, 1) : std::span(clusters_.members()[index(cluster)]);
    };
    const auto inside = [](std::int32_t, Value) { return false; };
    for_each_ready_group(graph_, members, inside, [&](std::span<const std::int32_t> nodes) {
      if (nodes.size() == 1) rewrite.keep(nodes[0]);
      else emit(rewrite, nodes);
    });
    return rewrite.finish();
  }

 private:
  static std::size_t index(std::int32_t i) { return static_cast<std::size_t>(i); }
  const GraphNode& at(std::int32_t i) const { return graph_.nodes[index(i)]; }

  // Nodes that make new values of storage and nothing else may write them in place.
  void find_updates() {
    const ValueTable<std::int32_t> uses = use_counts(graph_);
    is_read_.assign(graph_.nodes.size(), 0);
    ValueTable<std::int32_t> updates(graph_, 0);
    for (const GraphUpdate& update : graph_.updates) ++updates[update.value];
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(graph_.nodes.size()); ++i) {
      const std::span<const std::int32_t> all = uses.of(i), own = updates.of(i);
      is_read_[index(i)] = !std::equal(all.begin(), all.end(), own.begin(), own.end());
    }
  }

  bool is_small(std::int32_t i) const {
    return at(i).op.as<Map>() && is_read_[index(i)] && at(i).types[0].shape.size() > 0 &&
           at(i).types[0].shape.size() <= most_elements;
  }

  void add(std::int32_t i) {
    const std::vector<Value>& inputs = at(i).inputs;
    auto cluster = static_cast<std::int32_t>(clusters_.members().size());
    while (--cluster >= 0 && clusters_.is_open(cluster)) {
      const std::int32_t first = clusters_.members()[index(cluster)][0];
      const bool reads_it = std::any_of(inputs.begin(), inputs.end(), [&](Value v) {
        return clusters_.cluster_of(v.node) == cluster;
      });
      if (reads_it || !(at(first).op == at(i).op) || !clusters_.may_join(inputs, cluster)) continue;
      clusters_.join(i, inputs, cluster);
      return;
    }
    clusters_.open(i, inputs);
  }

  void emit(Rewrite& rewrite, std::span<const std::int32_t> nodes) const {
    GraphNode made{MapGroup{at(nodes[0]).op.as<Map>()->fn}, {}, {}, at(nodes[0]).origin};
    for (const std::int32_t n : nodes) {
      for (const Value v : at(n).inputs) made.inputs.push_back(rewrite.renamed(v));
      made.types.insert(made.types.end(), at(n).types.begin(), at(n).types.end());
    }
    const std::int32_t number = rewrite.add(std::move(made));
    std::int32_t result = 0;
    for (const std::int32_t n : nodes) {
      for (std::int32_t r = 0; r < static_cast<std::int32_t>(at(n).types.size()); ++r)
        rewrite.rename({n, r}, {number, result++});
    }
  }

  const Graph& graph_;
  Clusters clusters_;
  std::vector<char> is_read_;  // per node: by more than the updates of storage
};

}  // namespace

Graph group_small_maps(const Graph& graph) { return SmallMapGroups(graph).run(); }

}  // namespace blockgrad
