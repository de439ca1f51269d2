#pragma once
// Whether parts of a value are apart, told from their layouts alone.

#include <span>

#include "blockgrad/graph/shape.h"

namespace blockgrad {

/// True if it is sure that no place of `whole`, in row-major order, is that of two elements, of one
/// part or of two. Sure of slices with any step that differ along an axis in range or remainder;
/// false also where it is not told. Takes no look at elements, of which there may be any number.
bool are_surely_disjoint(std::span<const Layout> parts, const Shape& whole);

}  // namespace blockgrad
