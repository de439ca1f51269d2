#include "blockgrad/graph/view.h"
#include "graph/passes/passes.h"

namespace blockgrad {

Graph simplify(const Graph& graph) {
  Rewrite rewrite(graph);
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(graph.nodes.size()); ++i) {
    const GraphNode& node = graph.nodes[static_cast<std::size_t>(i)];
    const View* view = node.op.as<View>();
    if (!view) {
      rewrite.keep(i);
      continue;
    }
    Value source = rewrite.renamed(node.inputs[0]);
    Layout layout = view->layout;
    const View* below = rewrite.result().node(source).op.as<View>();
    if (Layout composed; below && compose(layout, below->layout, composed)) {
      layout = composed;
      source = rewrite.result().node(source).inputs[0];
    }
    if (layout == Layout::dense(rewrite.result().type(source).shape)) {
      rewrite.rename({i, 0}, source);
    } else {
      rewrite.rename({i, 0}, {rewrite.add({View{layout, view->short_name}, {source}, node.types, node.origin}), 0});
    }
  }
  return rewrite.finish();
}

}  // namespace blockgrad
