#pragma once
// Which parameters a value sends gradients to.

#include <span>
#include <vector>

#include "blockgrad/graph/expr.h"

namespace blockgrad::detail {

/// Those of `parameters` that y depends on by a path that is not cut.
std::vector<Expr> reached(const Expr& y, std::span<const Expr> parameters);
/// The gradients of y, empty where none arrives.
std::vector<Expr> reached_gradients(const Expr& y, std::span<const Expr> parameters,
                                    SourceLoc where);

}  // namespace blockgrad::detail
