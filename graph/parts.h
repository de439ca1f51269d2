#pragma once
// How the parts of an Unview lie in it.

#include "blockgrad/graph/view.h"

namespace blockgrad {

/// Whether the parts lie densely one behind the other, in any order, and cover the result.
bool is_row_of_parts(const Unview& op);

/// Whether the parts are columns of the result, each of them whole, side by side in any order, and
/// cover it: what joins values along their last axis.
bool are_columns(const Unview& op);

}  // namespace blockgrad
