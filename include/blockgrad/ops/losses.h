#pragma once
// Losses: a sum over samples and a weight, divided only once. So partial batches, sample weights
// and accumulated gradients are averaged exactly.

#include <optional>
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
Expr mean(const Loss& loss, SourceLoc where = SourceLoc::here());

/// The gradients of mean(loss).
std::vector<Expr> grad(const Loss& loss, std::initializer_list<Expr> wrt,
                       SourceLoc where = SourceLoc::here());
std::vector<Expr> grad(const Loss& loss, std::span<const Expr> wrt,
                       SourceLoc where = SourceLoc::here());

/// What the gradient of mean(loss) meets with respect to `wrt`; empty: all parameters that the loss
/// depends on. Give all parameters of a model to hear of those that never reach the loss.
Audit audit(const Loss& loss, std::span<const Expr> wrt = {}, SourceLoc where = SourceLoc::here());

/// x, checked: a count below 0 is an Error of the run that names the value and its position.
struct CheckCount {
  static constexpr std::string_view name = "check_count";
  std::string_view short_name = name;  // a literal; for messages only, not compared
  bool operator==(const CheckCount&) const { return true; }
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const { return {b.dy()}; }
  std::string_view title() const { return short_name; }
};

// Losses of pairs: y and t floating, of equal shapes, not merely broadcastable. One term per
// element and weight = number of elements; with `weights`, whose shape is that of y or of its
// leading axes, each term and its share of the weight are multiplied by its sample's weight, and a
// sample of weight 0 adds exactly 0. bf16 and f16 give a loss in f32.

/// Sum of (y - t)^2.
Loss mse_loss(Arg y, Arg t, const Expr& weights = {});
/// Sum of abs(y - t); slope 0 where they are equal.
Loss l1_loss(Arg y, Arg t, const Expr& weights = {});
/// Sum of (y - t)^2 / 2 where abs(y - t) <= delta, else delta (abs(y - t) - delta / 2): the slope
/// is continuous (Huber 1964). Throws Error unless delta is positive.
Loss huber_loss(Arg y, Arg t, double delta = 1, const Expr& weights = {});
/// Sum of softplus(x) - t x for logits x and targets t, also outside [0, 1]; gradient sigmoid(x) -
/// t. Finite for logits of 1e4.
Loss binary_cross_entropy_with_logits(Arg logits, Arg targets, const Expr& weights = {});
/// Sum of exp(x) - t x for logarithms x of rates and counts t; the log(t!) of the likelihood, which
/// does not depend on x, is left out. A count below 0 is an Error of the run.
Loss poisson_nll_loss(Arg log_rate, Arg counts, const Expr& weights = {});

/// Sum of q (log q - log_p) over all elements: the divergence of log_p from q, distributions along
/// `axis`. Where q is 0 it adds 0. weight = number of distributions, as PyTorch's "batchmean";
/// weights are one per distribution.
Loss kl_div(Arg log_p, Arg q, int axis = -1, const Expr& weights = {});

// Losses of classes: x floating [.., classes, ..] along `axis`, labels without that axis, i32 or
// i64 in [0, classes). One term per label and weight = number of labels. A label outside is an
// Error of the run with its value and position; one equal to ignore_index adds nothing to sum and
// weight, and if all are ignored the mean is 0 (PyTorch: NaN). `weights` are one per label.

struct LabelOptions {
  int axis = -1;
  std::optional<std::int64_t> ignore_index = {};
  Expr weights = {};
};

struct CrossEntropyOptions {
  int axis = -1;
  std::optional<std::int64_t> ignore_index = {};
  double label_smoothing = 0;  // in [0, 1]: the share of the target spread over all classes
  Expr weights = {};
};

/// Sum of logsumexp(x) - x[label] over logits x; gradient softmax(x) - one_hot(label). With label
/// smoothing s the target is (1 - s) one_hot(label) + s / classes (Szegedy et al. 2016).
Loss cross_entropy(Arg logits, Arg labels, const CrossEntropyOptions& options = {});
/// Sum of -x[label] over logarithms x of probabilities.
Loss nll_loss(Arg log_probs, Arg labels, const LabelOptions& options = {});

// Metrics, in the form of losses, so that batches are averaged exactly. For reports: no gradient.

/// How often the largest logit is that of the label; the first of ties.
Loss accuracy(Arg logits, Arg labels, const LabelOptions& options = {});
/// How often the label is among the k largest logits; of ties the first are taken. Throws Error if
/// k is not in [1, classes].
Loss topk_accuracy(Arg logits, Arg labels, std::int64_t k, const LabelOptions& options = {});
/// 1 - sum (y - t)^2 / sum (t - m)^2: the share of the targets' variance that y explains. m is
/// `target_mean` (any shape that broadcasts), or the mean of the batch; with a given one, several
/// batches give the value of the whole. All targets equal to m: 0.
Loss r2(Arg y, Arg t, const Expr& target_mean = {});
/// exp(sum / weight) of a loss in natural logarithms, without its penalties.
Expr perplexity(const Loss& loss);

}  // namespace blockgrad
