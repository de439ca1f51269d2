#pragma once
// Shape ops: Views, which move nothing, and Unviews, which place parts; of any dtype. `reshape`,
// `permute_dims` and `broadcast_to` are in graph/view.h, `windows` in ops/windows.h.

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <vector>

#include "blockgrad/graph/view.h"
#include "blockgrad/ops/axes.h"

namespace blockgrad {

/// The last two axes exchanged. Throws Error for rank below 2.
Expr transpose(Arg x);
/// One axis from `first_axis` on.
Expr flatten(Arg x, int first_axis = 1);
/// New axes of size 1, which are `axes` of the result. Throws Error if one is outside or named
/// twice.
Expr expand_dims(Arg x, const Axes& axes);
/// Without `axes`; none given: without all of size 1. Throws Error if the size of one is not 1.
Expr squeeze(Arg x, const Axes& axes = {});
/// Elements in reversed order along `axes`; along all if none is given.
Expr flip(Arg x, const Axes& axes = {});

/// Elements start, start + step, … before stop of `axis`, as x[start:stop:step] of NumPy: negative
/// start and stop count from the end, both are clipped to the axis, and a negative step goes
/// backwards (then a stop below -size is before the first element). Throws Error if step is 0.
Expr slice(Arg x, int axis, std::int64_t start, std::int64_t stop, std::int64_t step = 1);
/// start:stop:step of one axis; what is left out is the end that the step comes from or goes to.
struct Range {
  std::optional<std::int64_t> start = {}, stop = {};
  std::int64_t step = 1;
};
/// A range for each of the first axes, the rest whole: slice(x, {{1, 3}, {}, {.step = -1}}) is
/// x[1:3, :, ::-1]. Throws Error if a step is 0 or there are more ranges than axes.
Expr slice(Arg x, std::span<const Range> ranges);
Expr slice(Arg x, std::initializer_list<Range> ranges);

/// Equal parts along `axis`, in order. Throws Error if `parts` does not divide its size.
std::vector<Expr> split(Arg x, std::int64_t parts, int axis);
/// Parts of these sizes along `axis`, in order; 0 is a size. Throws Error if they do not add up.
std::vector<Expr> split(Arg x, std::span<const std::int64_t> sizes, int axis);
std::vector<Expr> split(Arg x, std::initializer_list<std::int64_t> sizes, int axis);

/// The parts one after the other along `axis`. Throws Error if other axes or dtypes differ, or
/// without parts.
Expr concat(std::span<const Expr> parts, int axis, SourceLoc where = SourceLoc::here());
Expr concat(std::initializer_list<Expr> parts, int axis, SourceLoc where = SourceLoc::here());
/// The parts, all of one shape, along a new axis, which is `axis` of the result. Throws Error if
/// shapes or dtypes differ, or without parts.
Expr stack(std::span<const Expr> parts, int axis, SourceLoc where = SourceLoc::here());
Expr stack(std::initializer_list<Expr> parts, int axis, SourceLoc where = SourceLoc::here());

/// x with low[a] elements of `value` before and high[a] after it along every axis a. Throws Error
/// for a negative number, for not one of each per axis, and for a value that the dtype cannot hold.
Expr pad(Arg x, std::span<const std::int64_t> low, std::span<const std::int64_t> high,
         double value = 0);
Expr pad(Arg x, std::initializer_list<std::int64_t> low, std::initializer_list<std::int64_t> high,
         double value = 0);

/// x repeated as a whole, repeats[a] times along axis a; the shorter of shape and repeats gets
/// leading ones, as in NumPy. 0 gives size 0. Throws Error for a negative number.
Expr tile(Arg x, std::span<const std::int64_t> repeats);
Expr tile(Arg x, std::initializer_list<std::int64_t> repeats);
/// Every element `count` times in a row along `axis`. 0 gives size 0. Throws Error for a negative
/// count.
Expr repeat(Arg x, std::int64_t count, int axis);

/// The index along `axis` at every element, as i32.
Expr coordinate(const Shape& shape, int axis, SourceLoc where = SourceLoc::here());

}  // namespace blockgrad
