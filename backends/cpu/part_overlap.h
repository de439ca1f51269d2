#pragma once
// Whether parts that an Unview puts into a value share places.

#include "blockgrad/graph/view.h"

namespace blockgrad {

/// True if every place is hit at most once. False also where that is not told from the layouts and
/// the places are too many for a look at each of them.
bool are_apart(const Unview& op);

}  // namespace blockgrad
