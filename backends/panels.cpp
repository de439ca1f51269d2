#include "backends/panels.h"

#include <map>
#include <utility>

#include "blockgrad/graph/error.h"
#include "blockgrad/ops/linalg.h"

namespace blockgrad {

namespace {

// A product of more rows reads its right operand so often that it packs for itself; of fewer, it
// reads as much as it computes.
constexpr std::int64_t most_rows = 96, least_rows = 4;
// Elements of an operand that does not stay in the nearest cache.
constexpr std::int64_t least_elements = std::int64_t{1} << 14;
constexpr int least_readers = 4;

bool may_share(const Graph& graph, const GraphNode& node) {
  if (!node.op.as<MatMul>()) return false;
  const Shape &a = graph.type(node.inputs[0]).shape, &b = graph.type(node.inputs[1]).shape;
  return !is_half(graph.type(node.inputs[1]).dtype) && b.rank() == 2 && a[0] >= least_rows &&
         a[0] <= most_rows && b[1] >= panel_columns && b.size() >= least_elements;
}

}  // namespace

TensorType Panels::infer(Types in) const {
  const Shape& b = in[0].shape;
  check_internal(b.rank() == 2, "panels of ", b);
  return {in[0].dtype, Shape{(b[1] + panel_columns - 1) / panel_columns, b[0], panel_columns}};
}

std::vector<Expr> Panels::vjp(const Backward&) const { return std::vector<Expr>(1); }

bool Panels::accepts(int, const Layout& layout) const { return MatMul{}.accepts(1, layout); }

TensorType PanelProduct::infer(Types in) const {
  const Shape &a = in[0].shape, &b = in[1].shape;
  check_internal(in[0].dtype == in[1].dtype && a.rank() == 2 && b.rank() == 3 && a[1] == b[1] &&
                     (columns + panel_columns - 1) / panel_columns == b[0],
                 "product of ", a, " with panels ", b, " for ", columns, " columns");
  return {in[0].dtype, Shape{a[0], columns}};
}

std::vector<Expr> PanelProduct::vjp(const Backward&) const { return std::vector<Expr>(2); }

bool PanelProduct::accepts(int input, const Layout& layout) const {
  return input == 0 ? MatMul{}.accepts(0, layout) : layout.is_dense();
}

Cost PanelProduct::cost(Types in, Types out) const {
  const TensorType b{in[1].dtype, Shape{in[1].shape[1], columns}};
  const TensorType operands[] = {in[0], b};
  return MatMul{}.cost(operands, out);
}

Graph share_panels(const Graph& graph) {
  std::map<std::pair<std::int32_t, std::int32_t>, int> readers;
  const auto key = [](Value v) { return std::pair{v.node, v.result}; };
  for (const GraphNode& node : graph.nodes) {
    if (may_share(graph, node)) ++readers[key(node.inputs[1])];
  }
  std::map<std::pair<std::int32_t, std::int32_t>, Value> panels;
  Rewrite rewrite(graph);
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(graph.nodes.size()); ++i) {
    const GraphNode& node = graph.nodes[static_cast<std::size_t>(i)];
    if (!may_share(graph, node) || readers.at(key(node.inputs[1])) < least_readers) {
      rewrite.keep(i);
      continue;
    }
    const Value b = node.inputs[1];
    const TensorType& type = graph.type(b);
    Value& made = panels[key(b)];
    if (!made) {
      const TensorType in[] = {type};
      made = {rewrite.add({Panels{}, {rewrite.renamed(b)}, {Panels{}.infer(in)}, node.origin}), 0};
    }
    rewrite.rename({i, 0}, {rewrite.add({PanelProduct{type.shape[1]},
                                         {rewrite.renamed(node.inputs[0]), made},
                                         node.types,
                                         node.origin}),
                            0});
  }
  return rewrite.finish();
}

}  // namespace blockgrad
