#pragma once
// Losses: a sum over samples and a weight, divided only once. So partial batches, sample weights
// and accumulated gradients are averaged exactly.

#include <vector>

#include "blockgrad/graph/audit.h"
#include "blockgrad/graph/op.h"

namespace blockgrad {

/// The loss of a batch is sum / weight plus the penalties, which count once per update whatever the
/// batch. `grad`, `minimize` and `compile` take it as it is; it never turns into an Expr by itself:
/// write mean(loss).
struct Loss {
  Expr sum;     // floating scalar
  Expr weight;  // scalar of the same dtype
  std::vector<Expr> penalties;
};

/// A term for `loss + penalty(1e-4 * sum(square(w)))`.
struct Penalty {
  Expr value;
};
/// Throws Error unless value is a floating scalar.
Penalty penalty(Arg value);

Loss operator*(double factor, const Loss& loss);
Loss operator+(const Loss& loss, const Penalty& term);
/// Throws Error unless both have the same weight: only then their sums may be added.
Loss operator+(const Loss& a, const Loss& b);
template <class T>
Loss operator+(const Loss&,
               const T&) = delete;  // a Loss is not an Expr: write mean(loss), or penalty(…)

/// sum / weight + penalties; a weight of 0 gives the penalties alone.
Expr mean(const Loss& loss);

/// The gradients of mean(loss).
std::vector<Expr> grad(const Loss& loss, std::initializer_list<Expr> wrt,
                       SourceLoc where = SourceLoc::here());
std::vector<Expr> grad(const Loss& loss, std::span<const Expr> wrt,
                       SourceLoc where = SourceLoc::here());

/// What the gradient of mean(loss) meets with respect to `wrt`; empty: all parameters that the loss
/// depends on. Give all parameters of a model to hear of those that never reach the loss.
Audit audit(const Loss& loss, std::span<const Expr> wrt = {}, SourceLoc where = SourceLoc::here());

/// Sum of (y - t)^2, weight = number of elements. Shapes must be equal, not merely broadcastable.
Loss mse_loss(Arg y, Arg t);
/// Sum of abs(y - t), weight = number of elements.
Loss l1_loss(Arg y, Arg t);
/// Sum of softplus(x) - t x for logits x and targets t, weight = number of elements; finite for
/// logits of 1e4.
Loss binary_cross_entropy_with_logits(Arg logits, Arg targets);
/// Sum of logsumexp(x) - x[label] over the last axis; logits [.., classes], labels [..] integers in
/// [0, classes); weight = number of labels. A label outside is an Error of the run with its value
/// and position.
Loss cross_entropy(Arg logits, Arg labels);
/// How often the largest logit is that of the label: sum of hits, weight = number of labels. For
/// reports.
Loss accuracy(Arg logits, Arg labels);

}  // namespace blockgrad
