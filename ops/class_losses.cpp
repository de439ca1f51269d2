// Losses and metrics of classes: one term per label.
#include <numeric>

#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/index.h"
#include "blockgrad/ops/losses.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/order.h"
#include "blockgrad/ops/reductions.h"
#include "ops/loss_terms.h"
#include "ops/rules.h"

namespace blockgrad {

namespace {

Shape without_axis(const Shape& shape, int axis) {
  std::vector<std::int64_t> sizes = detail::sizes_of(shape);
  sizes.erase(sizes.begin() + axis);
  return Shape(sizes);
}

// Logits and labels that fit, and which labels count.
struct Classes {
  Expr logits, labels;  // the labels as they were given
  int axis = 0;
  Expr counts;  // bool; empty: all labels

  Classes(const Arg& x, const Arg& i, int asked, std::optional<std::int64_t> ignore_index)
      : logits(detail::as_working(as_expr(x, DType::f32))), labels(as_expr(i, DType::i32)) {
    require(is_floating(logits.dtype()), "logits must be floating, got ", logits.dtype());
    require(labels.dtype() == DType::i32 || labels.dtype() == DType::i64,
            "labels must be i32 or i64, got ", labels.dtype());
    axis = detail::axis_of(logits.shape(), asked);
    const Shape wanted = without_axis(logits.shape(), axis);
    require(count() > 0, "logits need at least one class, got ", logits.shape());
    require(labels.shape() == wanted, "logits ", logits.shape(), " want labels of shape ", wanted,
            ", got ", labels.shape());
    if (!ignore_index) return;
    const bool fits =
        labels.dtype() == DType::i64 || static_cast<std::int32_t>(*ignore_index) == *ignore_index;
    require(fits, "ignore_index ", *ignore_index, " does not fit i32");
    counts = not_equal(labels, static_cast<double>(*ignore_index));
  }

  std::int64_t count() const { return logits.shape()[axis]; }

  // Labels in range; an ignored one reads as 0.
  Expr checked(std::string_view op) const {
    const Expr known = counts ? where(counts, labels, 0) : labels;
    return detail::checked_index(known, count(), op, {});
  }

  Loss averaged(const Expr& terms, const Expr& weights) const {
    if (!counts) return detail::averaged(terms, weights);
    const Expr ones = cast(counts, terms.dtype());
    if (!weights) return detail::averaged(terms, ones);
    require(weights.shape() == terms.shape(), "weights must have shape ", terms.shape(), ", got ",
            weights.shape());
    return detail::averaged(terms, where(counts, detail::as_working(weights), 0));
  }

  Expr picked(const Expr& checked_labels) const {
    return squeeze(detail::along_axis(logits, expand_dims(checked_labels, axis), axis), axis);
  }
};

// logsumexp(x) - (1 - s) x[label] - s mean(x), s the smoothing; gradient dy (softmax(x) - (1 - s)
// one_hot(label) - s / classes).
struct CrossEntropy {
  static constexpr std::string_view name = "cross_entropy";
  int axis = 0;
  Number smoothing;

  bool operator==(const CrossEntropy&) const = default;
  TensorType infer(Types in) const { return {in[0].dtype, without_axis(in[0].shape, axis)}; }
  std::vector<Expr> vjp(const Backward& b) const {
    const Expr& x = b.input(0);
    const Expr& labels = b.input(1);
    const double share = smoothing.value / static_cast<double>(x.shape()[axis]);
    const double rest = 1 - smoothing.value;
    return {map("cross_entropy",
                {x, logsumexp(x, axis, true), coordinate(x.shape(), axis),
                 expand_dims(labels, axis), expand_dims(b.dy(), axis)},
                [&](std::span<const Scalar> s) {
                  const Scalar p = exp(s[0] - s[1]);
                  const Scalar is_label = equal(astype(s[2], labels.dtype()), s[3]);
                  const Scalar slope = where(is_label, p - rest, p);
                  return detail::scaled(s[4], share == 0 ? slope : slope - share);
                }),
            Expr()};
  }
  bool not_differentiable(int input) const { return input == 1; }
  Expr expand(std::span<const Expr> in) const {
    const Expr& x = in[0];
    const Expr picked = squeeze(detail::along_axis(x, expand_dims(in[1], axis), axis), axis);
    const Expr all = logsumexp(x, axis);
    if (smoothing.value == 0) return all - picked;
    return map(name, {all, picked, sum(x, axis)}, [&](std::span<const Scalar> s) {
      const double share = smoothing.value / static_cast<double>(x.shape()[axis]);
      return s[0] - (1 - smoothing.value) * s[1] - share * s[2];
    });
  }
  std::string print() const { return join({"axis ", axis, ", smoothing ", smoothing.value}); }
};

}  // namespace

Loss cross_entropy(Arg logits, Arg labels, const CrossEntropyOptions& options) {
  return detail::in_context(CrossEntropy::name, logits.where(), [&] {
    const double s = options.label_smoothing;
    require(s >= 0 && s <= 1, "label_smoothing must lie in [0, 1], got ", s);
    const Classes classes(logits, labels, options.axis, options.ignore_index);
    const Expr terms =
        make(CrossEntropy{classes.axis, s}, {classes.logits, classes.checked(CrossEntropy::name)});
    return classes.averaged(terms, options.weights);
  });
}

Loss nll_loss(Arg log_probs, Arg labels, const LabelOptions& options) {
  return detail::in_context("nll_loss", log_probs.where(), [&] {
    const Classes classes(log_probs, labels, options.axis, options.ignore_index);
    return classes.averaged(negative(classes.picked(classes.checked("nll_loss"))), options.weights);
  });
}

Loss accuracy(Arg logits, Arg labels, const LabelOptions& options) {
  return detail::in_context("accuracy", logits.where(), [&] {
    const Classes classes(logits, labels, options.axis, options.ignore_index);
    const DType of_labels = classes.labels.dtype(), dtype = classes.logits.dtype();
    const Expr hits =
        map("accuracy", {argmax(classes.logits, classes.axis), classes.checked("accuracy")},
            [&](std::span<const Scalar> s) {
              return astype(equal(astype(s[0], of_labels), s[1]), dtype);
            });
    return classes.averaged(hits, options.weights);
  });
}

Loss topk_accuracy(Arg logits, Arg labels, std::int64_t k, const LabelOptions& options) {
  return detail::in_context("topk_accuracy", logits.where(), [&] {
    const Classes classes(logits, labels, options.axis, options.ignore_index);
    require(k >= 1 && k <= classes.count(), "k must lie in [1, ", classes.count(), "], got ", k);
    std::vector<int> last(static_cast<std::size_t>(classes.logits.rank()));
    std::iota(last.begin(), last.end(), 0);
    last.erase(last.begin() + classes.axis);
    last.push_back(classes.axis);
    const Expr best = topk(permute_dims(classes.logits, last), k).indices;
    const Expr found = any(equal(astype(best, classes.labels.dtype()),
                                 expand_dims(classes.checked("topk_accuracy"), -1)),
                           -1);
    return classes.averaged(cast(found, classes.logits.dtype()), options.weights);
  });
}

}  // namespace blockgrad
