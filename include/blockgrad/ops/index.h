#pragma once
// Elements and rows by number. Indices are i32 or i64 in [0, n); a negative one is out of range
// (unlike NumPy and ONNX). One outside is an Error of the run that names op, value and position;
// that run updates nothing, and the next one works. What is added or written more than once to one
// place follows the order of positions, on every device.

#include <string_view>

#include "blockgrad/graph/op.h"

namespace blockgrad {

/// y = i, checked: every index lies in [0, n). A bad one reads as 0 until the run ends in an Error.
struct CheckIndex {
  static constexpr std::string_view name = "check_index";
  std::int64_t n = 0;
  std::string_view short_name = name;  // a literal: the op that takes the indices; not compared

  bool operator==(const CheckIndex& other) const { return n == other.n; }
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward&) const { return {Expr()}; }
  bool not_differentiable(int) const { return true; }
  std::string_view title() const { return short_name; }
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
  bool accepts(int input, const Layout& layout) const;
};

/// y = x, then y[i[k..], inner] = v[k.., inner] in order of k: the last position wins. Gradients:
/// dy where x was kept, and dy at the positions that won.
struct Put {
  static constexpr std::string_view name = "put";
  bool operator==(const Put&) const = default;
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  bool not_differentiable(int input) const { return input == 1; }
  bool accepts(int input, const Layout& layout) const;
};

/// Slices of x by number: `axis` of x is replaced by the axes of the indices. Any dtype. Repeated
/// indices add up in the gradient. Throws Error for a scalar x.
Expr take(Arg x, Arg indices, int axis = 0);
/// x with v added to the slices `indices` of `axis`, repeated ones in order of position; the shape
/// of v is that of take(x, indices, axis). Numbers only.
Expr scatter_add(Arg x, Arg indices, Arg v, int axis = 0);
/// y[.., j, ..] = x[.., i[.., j, ..], ..]: one element per index. x and the indices have equal rank
/// and broadcast on all axes but `axis`. Any dtype.
Expr take_along_axis(Arg x, Arg indices, int axis = -1);
/// x with y[.., i[.., j, ..], ..] = v[.., j, ..]; of several values for one place the one at the
/// last position wins and gets the gradient. The indices broadcast to x on all axes but `axis`, v
/// broadcasts to the indices. Any dtype.
Expr put_along_axis(Arg x, Arg indices, Arg v, int axis = -1);
/// The element of each line of `axis` at its own index: x [.., n, ..], indices [.., ..] without the
/// axis, as is the result.
Expr at(Arg x, Arg indices, int axis = -1);
/// [..] -> [.., n]: 1 where the last axis equals the index, else 0. dtype: of the result.
Expr one_hot(Arg indices, std::int64_t n, DType dtype = DType::f32);
/// x where column - row <= k in the last two axes, else 0; its gradient is masked alike. Throws
/// Error for rank below 2.
Expr tril(Arg x, std::int64_t k = 0);
/// x where column - row >= k in the last two axes, else 0.
Expr triu(Arg x, std::int64_t k = 0);

namespace detail {
/// The indices behind their check; `op` is what messages call it, a literal.
Expr checked_index(const Expr& indices, std::int64_t n, std::string_view op, SourceLoc where);
/// take_along_axis for indices known to be in range.
Expr along_axis(const Expr& x, const Expr& indices, int axis);
}  // namespace detail

}  // namespace blockgrad
