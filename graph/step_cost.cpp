#include "graph/step_cost.h"

#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"
#include "graph/parts.h"

namespace blockgrad {

bool is_copied_already(const GraphNode& node, const PlanStep& step) {
  const Map* map = node.op.as<Map>();
  return map && is_identity(*map) && is_copied_to_itself(step.inputs[0], step.outputs[0]);
}

Cost cost_of(const Graph& graph, const PlanStep& step) {
  const GraphNode& node = graph.nodes[static_cast<std::size_t>(step.node)];
  if (is_copied_already(node, step)) return {};
  std::vector<TensorType> in;
  for (const Value v : node.inputs) in.push_back(graph.type(v));
  Cost cost = node.op->cost(in, node.types);
  const Unview* whole = node.op.as<Unview>();
  for (std::size_t p = 0; whole && p < in.size(); ++p) {
    if (!is_made_there(step.inputs[p], step.outputs[0], whole->layouts[p])) continue;
    cost.flops -= static_cast<double>(in[p].shape.size());
    cost.bytes -= 2 * static_cast<double>(bytes_of(in[p]));
  }
  return cost;
}

}  // namespace blockgrad
