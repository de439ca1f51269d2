#pragma once
// What flows back into a value from everything that reads it.

#include <vector>

#include "blockgrad/graph/expr.h"

namespace blockgrad {

/// The sum of equally typed gradients, from left to right. Unviews into zeros become one with all
/// their parts, in the place of the first: T slices of a value cost one fill and no addition.
Expr sum_of_contributions(std::vector<Expr> contributions);

}  // namespace blockgrad
