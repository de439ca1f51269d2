#pragma once
// Gradients as a value: what a loss sends to its parameters, before an optimizer applies it.
// Transforms take Gradients and give Gradients: clip_by_value, clip_by_global_norm, accumulate.

#include <cstdint>
#include <memory>
#include <vector>

#include "blockgrad/graph/updates.h"
#include "blockgrad/ops/losses.h"

namespace blockgrad {

class Optimizer;

/// The gradient of the mean loss with respect to one parameter: dense, or the rows of it that
/// differ from 0.
struct Gradient {
  Expr parameter;
  Expr value;       // of the parameter's type; or the sums of merge_rows, [c, inner..]
  Expr rows = {};   // empty: dense; or their row numbers, [c], distinct
  Expr count = {};  // and how many they are, an i64 scalar

  bool operator==(const Gradient&) const = default;  // the same nodes
};

struct Gradients {
  std::vector<Gradient> list;
  Loss loss;                  // whose mean they are the gradients of
  std::vector<Expr> checked;  // what must be finite for an update: loss and gradients, unclipped
  Expr guard;                 // bool scalar: whether this run updates; empty: every run does
  Updates updates;            // what the transforms remember from run to run
  std::shared_ptr<const Gradients> plain = {};  // as `gradients` gave them, for `accumulate`
};

/// The gradients of mean(loss) with respect to the parameters `only`, or all that the loss depends
/// on. A parameter of which the loss only takes rows, fewer than it has, gets a gradient of rows.
/// Throws Error if there are none, or like grad.
Gradients gradients(const Loss& loss, std::span<const Expr> only = {},
                    SourceLoc where = SourceLoc::here());
namespace detail {
Gradient dense(const Gradient& gradient);
}
/// The same gradients, each of its parameter's type: rows that were not named are 0.
Gradients dense(const Gradients& gradients, SourceLoc where = SourceLoc::here());

/// min(max(g, -limit), limit) of each element; NaN stays NaN. Throws Error if limit is negative or
/// NaN.
Gradients clip_by_value(const Gradients& gradients, double limit,
                        SourceLoc where = SourceLoc::here());
/// The root of the sum of squares over all gradients, an f64 scalar; squares neither overflow nor
/// vanish.
Expr global_norm(const Gradients& gradients, SourceLoc where = SourceLoc::here());
/// g where the norm is at most the limit, else g / global_norm * limit (Pascanu, Mikolov, Bengio
/// 2013), also where the norm is beyond the range of f64 or limit / norm of that of g. A norm of 0
/// and a limit of inf leave g as it is; a NaN makes all NaN. Throws Error unless limit > 0.
Gradients clip_by_global_norm(const Gradients& gradients, double limit,
                              SourceLoc where = SourceLoc::here());

/// One update for every `batches` runs, as if their rows were one batch: gradients of sums and
/// weights are added up, divided once, and the penalties counted once. The sums are slots, so they
/// are among the optimizer's states; programs that accumulate for the same parameters share them. A
/// run whose loss or sums are not finite adds nothing and does not count. A run in which the bool
/// scalar `flush` holds updates with what there is, the last of an epoch for example. Comes before
/// clipping, which needs the mean. Throws Error if batches < 1, if a gradient or the loss is not as
/// `gradients` gave it, or if the weight of the loss depends on a parameter.
Gradients accumulate(Optimizer& optimizer, const Gradients& gradients, std::int64_t batches,
                     const Expr& flush = {}, SourceLoc where = SourceLoc::here());

/// A bool scalar: whether the loss and all gradients are finite.
Expr all_finite(std::span<const Expr> values, SourceLoc where = SourceLoc::here());

}  // namespace blockgrad
