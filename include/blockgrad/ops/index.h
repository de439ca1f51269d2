#pragma once
// Rows by number. Indices are i32 or i64 in [0, n); one outside is an Error of the run that names
// the value and its position; that run updates nothing, and the next one works.

#include "blockgrad/graph/op.h"

namespace blockgrad {

/// y = i, checked: every index lies in [0, n).
struct CheckIndex {
  static constexpr std::string_view name = "check_index";
  std::int64_t n = 0;
  bool operator==(const CheckIndex&) const = default;
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward&) const { return {Expr()}; }
  bool not_differentiable(int) const { return true; }
};

/// y[k.., inner] = x[i[k..], inner], rows of axis 0, after a CheckIndex. Gradient: ScatterAdd.
struct Gather {
  static constexpr std::string_view name = "take";
  bool operator==(const Gather&) const = default;
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  bool not_differentiable(int input) const { return input == 1; }
};

/// y = x, then y[i[k..], inner] += v[k.., inner] in order of k. Gradients: dy, and the rows of dy.
struct ScatterAdd {
  static constexpr std::string_view name = "scatter_add";
  bool operator==(const ScatterAdd&) const = default;
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  bool not_differentiable(int input) const { return input == 1; }
};

/// Rows of x: axis 0 of x is replaced by the axes of the indices.
Expr take(Arg x, Arg indices);
/// Adds the rows v into the rows `indices` of x, repeated ones one after the other.
Expr scatter_add(Arg x, Arg indices, Arg v);
/// [..] -> [.., n]: 1 where the last axis equals the index, else 0. dtype: of the result.
Expr one_hot(Arg indices, std::int64_t n, DType dtype = DType::f32);

namespace detail {
/// The indices behind their check.
Expr checked_index(const Expr& indices, std::int64_t n, SourceLoc where);
}  // namespace detail

}  // namespace blockgrad
