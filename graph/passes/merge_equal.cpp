#include <unordered_map>

#include "graph/passes/passes.h"

namespace blockgrad {

Graph merge_equal(const Graph& graph) {
  Rewrite rewrite(graph);
  std::unordered_multimap<std::size_t, std::int32_t>
      seen;  // hash -> node of the new graph; looked up only
  seen.reserve(graph.nodes.size());
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(graph.nodes.size()); ++i) {
    const GraphNode& node = graph.nodes[static_cast<std::size_t>(i)];
    std::vector<Value> inputs;
    std::size_t hash = node.op->hash();
    for (const Value v : node.inputs) {
      inputs.push_back(rewrite.renamed(v));
      hash = hash * 1099511628211u ^
             static_cast<std::size_t>(inputs.back().node * 31 + inputs.back().result);
    }
    std::int32_t same = -1;
    const auto [first, last] = seen.equal_range(hash);
    for (auto it = first; it != last; ++it) {
      const GraphNode& other = rewrite.result().nodes[static_cast<std::size_t>(it->second)];
      if (other.inputs == inputs && other.op == node.op) same = it->second;
    }
    if (same < 0) {
      rewrite.keep(i);
      seen.emplace(hash, rewrite.renamed({i, 0}).node);
    } else {
      for (std::int32_t r = 0; r < static_cast<std::int32_t>(node.types.size()); ++r)
        rewrite.rename({i, r}, {same, r});
    }
  }
  return rewrite.finish();
}

}  // namespace blockgrad
