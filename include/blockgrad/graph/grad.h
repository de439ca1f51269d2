#pragma once
// Reverse-mode gradients, as nodes of the same graph: they can be differentiated again.

#include <span>
#include <vector>

#include "blockgrad/graph/audit.h"
#include "blockgrad/graph/flow.h"

namespace blockgrad {

/// The gradients of the scalar y with respect to each Expr of `wrt`, in that order (Griewank and
/// Walther 2008, chapter 3). log(softmax(x)) and log(sigmoid(x)) are differentiated as log_softmax
/// and logsigmoid unless their inside is one of `wrt`. Throws Error if y is not a floating scalar;
/// and, naming all of them at once with their lines, for ops on the way that have no gradient, and
/// for each of `wrt` that y does not depend on or that no gradient reaches; audit() says more.
std::vector<Expr> grad(const Expr& y, std::span<const Expr> wrt,
                       SourceLoc where = SourceLoc::here());
std::vector<Expr> grad(const Expr& y, std::initializer_list<Expr> wrt,
                       SourceLoc where = SourceLoc::here());

/// The vector-Jacobian product: as above for y of any shape with the adjoint dy of y's type.
std::vector<Expr> vjp(const Expr& y, const Expr& dy, std::span<const Expr> wrt,
                      SourceLoc where = SourceLoc::here());

/// All parameters that y depends on, in the order in which a walk from the inputs meets them.
std::vector<Expr> parameters_of(std::span<const Expr> ys);

namespace detail {
/// The nodes behind `roots`, every node after its inputs. No recursion.
std::vector<const Node*> in_order(std::span<const Expr> roots);
}  // namespace detail

}  // namespace blockgrad
