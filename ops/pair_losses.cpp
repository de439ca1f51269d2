// Losses of pairs of equal shape, one term per element.
#include "blockgrad/graph/view.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/losses.h"
#include "blockgrad/ops/reductions.h"
#include "ops/loss_terms.h"
#include "ops/rules.h"

namespace blockgrad {

namespace detail {

Expr as_working(const Expr& x) { return cast(x, working_dtype(x.dtype())); }

Scalar scaled(Scalar d, Scalar slope) {
  return where(logical_and(equal(d, 0), logical_not(isfinite(slope))), 0, d * slope);
}

namespace {

// The weights repeated over the axes that they do not have.
Expr spread(const Expr& weights, const Shape& shape) {
  const bool fits =
      weights.rank() <= shape.rank() &&
      weights.shape() == Shape(shape.sizes().first(static_cast<std::size_t>(weights.rank())));
  require(fits, "weights must have shape ", shape, " or its leading axes, got ", weights.shape());
  std::vector<std::int64_t> sizes = sizes_of(weights.shape());
  sizes.resize(static_cast<std::size_t>(shape.rank()), 1);
  return broadcast_to(reshape(as_working(weights), Shape(sizes)), shape);
}

Loss counted(const Expr& terms) {
  const Expr wide = as_working(terms);
  return {
      sum(wide), constant(full({}, static_cast<double>(terms.shape().size()), wide.dtype())), {}};
}

}  // namespace

Loss averaged(const Expr& terms, const Expr& weights) {
  if (!weights) return counted(terms);
  const Expr factors = spread(weights, terms.shape());
  const Expr weighted = map("weights", {as_working(terms), factors}, [](std::span<const Scalar> s) {
    return where(equal(s[1], 0), 0, s[0] * s[1]);
  });
  return {sum(weighted), sum(factors), {}};
}

}  // namespace detail

namespace {

// The operands of a loss of pairs, floating and of equal shapes.
struct Pair {
  Expr y, t;

  Pair(const Arg& a, const Arg& b) {
    const Arg& lead = a.is_number() ? b : a;
    const DType dtype = lead.is_number() ? DType::f32 : lead.expr().dtype();
    y = as_expr(a, dtype);
    t = as_expr(b, dtype);
    require(y.shape() == t.shape(), "shapes must be equal, got ", y.shape(), " and ", t.shape(),
            y.shape().size() == t.shape().size() ? "; reshape one to the other's" : "");
    require(y.dtype() == t.dtype(), "wants one dtype, got ", y.dtype(), " and ", t.dtype(),
            "; convert one with astype");
    require(is_floating(dtype), "wants a floating dtype, got ", dtype);
    y = detail::as_working(y);  // a square may leave the range of f16
    t = detail::as_working(t);
  }
};

template <class F>
Loss over_pairs(std::string_view op, const Arg& y, const Arg& t, const Expr& weights, F term) {
  return detail::in_context(op, y.where(), [&] {
    const Pair pair(y, t);
    if (!weights) {
      return detail::counted(
          map(op, {pair.y, pair.t}, [&](std::span<const Scalar> s) { return term(s[0], s[1]); }));
    }
    // In one formula: then a weight of 0 stops an infinite slope too.
    const Expr factors = detail::spread(weights, pair.y.shape());
    const Expr terms = map(op, {pair.y, pair.t, factors}, [&](std::span<const Scalar> s) {
      return where(equal(s[2], 0), 0, s[2] * term(s[0], s[1]));
    });
    return Loss{sum(terms), sum(factors), {}};
  });
}

// softplus(x) - t x. Gradients: dy (sigmoid(x) - t), with one rounding less than term by term, and
// -dy x.
struct BinaryCrossEntropy {
  static constexpr std::string_view name = "binary_cross_entropy_with_logits";
  bool operator==(const BinaryCrossEntropy&) const = default;
  TensorType infer(Types in) const {
    require(in[0] == in[1], "logits and targets differ: ", to_string(in[0]), " and ",
            to_string(in[1]));
    return in[0];
  }
  std::vector<Expr> vjp(const Backward& b) const {
    std::vector<Expr> gradients(2);
    if (b.wants(0)) {
      gradients[0] = map(name, {b.dy(), b.input(0), b.input(1)}, [](std::span<const Scalar> s) {
        return detail::scaled(s[0], sigmoid(s[1]) - s[2]);
      });
    }
    if (b.wants(1)) gradients[1] = negative(b.dy() * b.input(0));
    return gradients;
  }
  Expr expand(std::span<const Expr> in) const {
    return map(name, {in[0], in[1]},
               [](std::span<const Scalar> s) { return softplus(s[0]) - s[1] * s[0]; });
  }
};

}  // namespace

TensorType CheckCount::infer(Types in) const {
  require(in[0].dtype == DType::f32 || in[0].dtype == DType::f64, "counts must be f32 or f64, got ",
          in[0].dtype);
  return in[0];
}

Loss mse_loss(Arg y, Arg t, const Expr& weights) {
  return over_pairs("mse_loss", y, t, weights, [](Scalar a, Scalar b) { return square(a - b); });
}

Loss l1_loss(Arg y, Arg t, const Expr& weights) {
  return over_pairs("l1_loss", y, t, weights, [](Scalar a, Scalar b) { return abs(a - b); });
}

Loss huber_loss(Arg y, Arg t, double delta, const Expr& weights) {
  require(delta > 0, to_string(current_origin(y.where()), "huber_loss"),
          ": delta must be positive, got ", delta);
  return over_pairs("huber_loss", y, t, weights, [delta](Scalar a, Scalar b) {
    const Scalar gap = abs(a - b);
    return where(gap <= delta, 0.5 * square(a - b), delta * (gap - 0.5 * delta));
  });
}

Loss binary_cross_entropy_with_logits(Arg logits, Arg targets, const Expr& weights) {
  return detail::in_context(BinaryCrossEntropy::name, logits.where(), [&] {
    const Pair pair(logits, targets);
    return detail::averaged(make(BinaryCrossEntropy{}, {pair.y, pair.t}), weights);
  });
}

Loss poisson_nll_loss(Arg log_rate, Arg counts, const Expr& weights) {
  constexpr std::string_view name = "poisson_nll_loss";
  return detail::in_context(name, log_rate.where(), [&] {
    const Pair pair(log_rate, counts);
    const Expr checked = make(CheckCount{name}, {pair.t});
    return over_pairs(name, pair.y, checked, weights,
                      [](Scalar x, Scalar n) { return exp(x) - n * x; });
  });
}

Loss kl_div(Arg log_p, Arg q, int axis, const Expr& weights) {
  return detail::in_context("kl_div", log_p.where(), [&] {
    const Pair pair(log_p, q);
    const int a = detail::axis_of(pair.y.shape(), axis);
    const Expr terms = map("kl_div", {pair.y, pair.t}, [](std::span<const Scalar> s) {
      return where(equal(s[1], 0), 0, s[1] * (log(s[1]) - s[0]));
    });
    return detail::averaged(sum(terms, a), weights);
  });
}

Loss r2(Arg y, Arg t, const Expr& target_mean) {
  return detail::in_context("r2", y.where(), [&] {
    const Pair pair(y, t);
    const Expr centre =
        target_mean ? broadcast_to(target_mean, pair.t.shape(), y.where()) : mean(pair.t);
    const Expr total = sum(square(pair.t - centre));
    require(total.dtype() == pair.y.dtype(), "dtypes differ: ", pair.y.dtype(), " and ",
            total.dtype());
    return Loss{total - sum(square(pair.y - pair.t)), total, {}};
  });
}

}  // namespace blockgrad
