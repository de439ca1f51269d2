#pragma once
// Shape ops: Views, which move nothing, and Unviews, which place parts. `reshape`, `permute_dims`
// and `broadcast_to` are in graph/view.h.

#include <span>
#include <vector>

#include "blockgrad/graph/view.h"

namespace blockgrad {

/// The last two axes exchanged. Throws Error for rank below 2.
Expr transpose(Arg x);
/// One axis from `first_axis` on.
Expr flatten(Arg x, int first_axis = 1);
/// A new axis of size 1 at `axis` of the result.
Expr expand_dims(Arg x, int axis);
/// Without `axis`. Throws Error if its size is not 1.
Expr squeeze(Arg x, int axis);
/// Elements start, start + step, … before stop of `axis`; negative start and stop count from the
/// end and both are clipped to the axis, as in NumPy. Throws Error if step is not positive.
Expr slice(Arg x, int axis, std::int64_t start, std::int64_t stop, std::int64_t step = 1);
/// The parts one after the other along `axis`. Throws Error if other axes or dtypes differ, or
/// without parts.
Expr concat(std::span<const Expr> parts, int axis, SourceLoc where = SourceLoc::here());
/// The index along `axis` at every element, as i32.
Expr coordinate(const Shape& shape, int axis, SourceLoc where = SourceLoc::here());

}  // namespace blockgrad
