#pragma once
// How the parts of an Unview lie in it, and what a copy reads in the copy.

#include <optional>

#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"

namespace blockgrad {

/// Whether the parts lie densely one behind the other, in any order, and cover the result.
bool is_row_of_parts(const Unview& op);

/// Whether the parts are columns of the result, each of them whole, side by side in any order, and
/// cover it: what joins values along their last axis.
bool are_columns(const Unview& op);

/// Whether the parts lie in any order of axes, each element in a place of its own, and cover the
/// result. False also where that is not told from their layouts.
bool are_all_places(const Unview& op);

/// Whether its result is its only input.
bool is_identity(const Map& map);

/// Where the elements of a value of this shape lie in a dense copy of what `view` shows of it, if
/// that is the whole value with its axes in another order.
std::optional<Layout> place_in_copy(const Layout& view, const Shape& shape);

}  // namespace blockgrad
