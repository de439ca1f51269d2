#pragma once
// Panels: the right operand of matrix products in the order in which their kernels read it. The
// pass share_panels makes it where several products share that operand, so that it is laid out
// once.

#include <string_view>
#include <vector>

#include "blockgrad/graph/op.h"
#include "graph/graph.h"

namespace blockgrad {

/// Columns of a panel: whole vectors of every instruction set.
inline constexpr std::int64_t panel_columns = 64;

/// b [k, n] -> [ceil(n / 64), k, 64]: panel q holds columns 64 q .. 64 q + 63, zeros behind the
/// last one. Made after the gradient, so it has none.
struct Panels {
  static constexpr std::string_view name = "panels";
  bool operator==(const Panels&) const = default;
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  bool accepts(int, const Layout& layout) const;
};

/// a [m, k], panels of b -> a b [m, n], each element the chain of MatMul. Made after the gradient.
struct PanelProduct {
  static constexpr std::string_view name = "panel_product";
  std::int64_t columns = 0;  // n
  bool operator==(const PanelProduct&) const = default;
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  std::string_view title() const { return "matmul"; }
  bool accepts(int input, const Layout& layout) const;
  Cost cost(Types in, Types out) const;
};

/// Where at least four products of few rows have the same right operand, as the steps of a
/// recurrent net have, they read panels of it. Equal bits: each element is one chain over k.
Graph share_panels(const Graph& graph);

}  // namespace blockgrad
