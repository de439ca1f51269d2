#pragma once
// MapGroup: one scalar program over several sets of values, each of its own shape, as one node. The
// pass group_updates makes it of the updates of an optimizer.

#include <string>
#include <string_view>
#include <vector>

#include "blockgrad/graph/map.h"

namespace blockgrad {

/// With m inputs and n results of `fn`, set s is Map{fn} of inputs s m .. s m + m - 1 and gives
/// results s n .. s n + n - 1. Made after the gradient, so it has none.
struct MapGroup {
  static constexpr std::string_view name = "map_group";
  ScalarFn fn;

  bool operator==(const MapGroup&) const = default;
  std::size_t sets(std::size_t inputs) const { return inputs / fn.inputs().size(); }
  std::vector<TensorType> infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  std::string print() const;
  std::size_t hash() const { return fn.hash(); }
  bool accepts(int, const Layout&) const { return true; }
  Cost cost(Types in, Types out) const;
};

/// The scalar program of a Map or MapGroup; null for other ops.
const ScalarFn* formula_of(const Op& op);

}  // namespace blockgrad
