#include <unordered_map>

#include "blockgrad/graph/view.h"
#include "graph/passes/passes.h"

namespace blockgrad {

namespace {

std::size_t mixed(std::size_t hash, std::int64_t more) {
  return hash * 1099511628211u ^ static_cast<std::size_t>(more);
}

std::size_t mixed(std::size_t hash, const Layout& layout) {
  hash = mixed(hash, layout.offset);
  for (int a = 0; a < layout.shape.rank(); ++a)
    hash = mixed(mixed(hash, layout.shape[a]), layout.strides[static_cast<std::size_t>(a)]);
  return hash;
}

// Of a large value there may be as many Views as nodes, one for each step of a recurrent net.
std::size_t hash_of(const Op& op) {
  std::size_t hash = op->hash();
  if (const auto* view = op.as<View>()) return mixed(hash, view->layout);
  if (const auto* unview = op.as<Unview>()) {
    for (const Layout& layout : unview->layouts) hash = mixed(hash, layout);
  }
  return hash;
}

}  // namespace

Graph merge_equal(const Graph& graph) {
  Rewrite rewrite(graph);
  std::unordered_multimap<std::size_t, std::int32_t>
      seen;  // hash -> node of the new graph; looked up only
  seen.reserve(graph.nodes.size());
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(graph.nodes.size()); ++i) {
    const GraphNode& node = graph.nodes[static_cast<std::size_t>(i)];
    std::vector<Value> inputs;
    std::size_t hash = hash_of(node.op);
    for (const Value v : node.inputs) {
      inputs.push_back(rewrite.renamed(v));
      hash = mixed(hash, std::int64_t{inputs.back().node} * 31 + inputs.back().result);
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
