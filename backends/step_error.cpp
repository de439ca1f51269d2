#include "backends/step_error.h"

#include "backends/cpu/numerics.h"

namespace blockgrad {

void fail_step(const Graph& graph, std::int32_t node, const WrongValue& wrong, std::int64_t step) {
  const Shape& shape = graph.nodes[static_cast<std::size_t>(node)].types[0].shape;
  const std::string place =
      shape.rank() < 2 ? Text(wrong.position).str() : index_text(wrong.position, shape);
  fail({graph.describe(node), ": ", wrong.thing, " ", wrong.value, " at position ", place, " ",
        wrong.rule, "; step ", step, " of this run updated nothing"});
}

}  // namespace blockgrad
