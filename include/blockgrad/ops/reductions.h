#pragma once
// Reductions over axes; negative axes count from the end, none means all.

#include "blockgrad/graph/reduce.h"
#include "blockgrad/ops/axes.h"

namespace blockgrad {

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
/// log(sum(exp(x))) without overflow: m + log(sum(exp(x - m))), m the maximum. Gradient: dy * exp(x
/// - y); a line of -inf gives -inf and no gradient. Size 0: -inf.
Expr logsumexp(Arg x, const Axes& axes = {}, bool keepdims = false);
/// Product, as a balanced tree of products, so that gradients are right at zeros in every order; a
/// tensor of integers gives i64, which wraps. Size 0: 1.
Expr prod(Arg x, const Axes& axes = {}, bool keepdims = false);
/// Sum of (x - mean)^2 / (n - correction), n the number of elements: two passes, and a third for
/// the rounding of the mean (Chan, Golub, LeVeque 1983). NaN where n - correction <= 0. The
/// correction is 0 as in the array API, unlike PyTorch's 1.
Expr var(Arg x, const Axes& axes = {}, bool keepdims = false, double correction = 0);
/// sqrt(var), NumPy's std, which C++ has taken; its gradient at 0 is 0.
Expr stddev(Arg x, const Axes& axes = {}, bool keepdims = false, double correction = 0);
/// sqrt(sum(x^2)), scaled by the largest entry so that squares do not overflow. Gradient: dy * x /
/// y, and 0 where y is 0. Size 0: 0.
Expr norm(Arg x, const Axes& axes = {}, bool keepdims = false);

}  // namespace blockgrad
