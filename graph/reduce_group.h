#pragma once
// ReduceGroup: whole values reduced to one number each, several in one node, each behind a scalar
// program that runs while its elements are in a cache. The pass group_reductions makes it.

#include <string>
#include <string_view>
#include <vector>

#include "blockgrad/graph/reduce.h"
#include "blockgrad/graph/scalar.h"

namespace blockgrad {

/// With m inputs of `fn`, which has one result, set s is the Reduce over all elements of Map{fn} of
/// inputs s m .. s m + m - 1: result s, one element of shape shapes[s]. `kind` is sum, max or min.
/// Made after the gradient, so it has none.
struct ReduceGroup {
  static constexpr std::string_view name = "reduce_group";
  ScalarFn fn;
  ReduceKind kind = ReduceKind::sum;
  std::vector<Shape> shapes;

  bool operator==(const ReduceGroup&) const = default;
  std::vector<TensorType> infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  std::string_view title() const { return blockgrad::name(kind); }
  std::string print() const;
  bool accepts(int, const Layout&) const { return true; }
  Cost cost(Types in, Types out) const;
};

}  // namespace blockgrad
