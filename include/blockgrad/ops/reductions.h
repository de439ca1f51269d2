#pragma once
// Reductions over axes; negative axes count from the end, none means all.

#include <vector>

#include "blockgrad/graph/reduce.h"

namespace blockgrad {

struct Axes {
  std::vector<int> list;
  Axes() = default;
  Axes(int axis) : list{axis} {}
  Axes(std::initializer_list<int> axes) : list(axes) {}
};

/// Sum over `axes`; a tensor of integers or bools gives i64. Order of additions fixed by the shape.
/// Size 0: 0.
Expr sum(Arg x, const Axes& axes = {}, bool keepdims = false);
/// sum / number of elements. Size 0: NaN.
Expr mean(Arg x, const Axes& axes = {}, bool keepdims = false);
/// Largest, smallest element; NaN wins; ties share the gradient evenly. Throws Error for size 0.
Expr max(Arg x, const Axes& axes = {}, bool keepdims = false);
Expr min(Arg x, const Axes& axes = {}, bool keepdims = false);
/// Whether all, any of a bool tensor are true.
Expr all(Arg x, const Axes& axes = {}, bool keepdims = false);
Expr any(Arg x, const Axes& axes = {}, bool keepdims = false);
/// Index of the largest, smallest element along one axis, as i32; the first of ties.
Expr argmax(Arg x, int axis, bool keepdims = false);
Expr argmin(Arg x, int axis, bool keepdims = false);
/// log(sum(exp(x))) without overflow: m + log(sum(exp(x - m))), m the maximum. A line of -inf gives
/// -inf.
Expr logsumexp(Arg x, int axis, bool keepdims = false);

}  // namespace blockgrad
