#include "blockgrad/ops/attention.h"

#include <cmath>
#include <limits>

#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/linalg.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/reductions.h"
#include "ops/rules.h"

namespace blockgrad {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// Softmax along the last axis; a line of -inf gives 0. dx = y (dy - sum(dy y)).
struct SoftmaxOrZero {
  static constexpr std::string_view name = "softmax";
  bool operator==(const SoftmaxOrZero&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward& b) const {
    return {b.y() * (b.dy() - sum(b.dy() * b.y(), -1, true))};
  }
  Expr expand(std::span<const Expr> in) const {
    const Expr& x = in[0];
    if (x.shape().size() == 0) return x;
    const Expr powers = map("exp", {x, max(x, -1, true)}, [](std::span<const Scalar> s) {
      return where(equal(s[1], -infinity), 0, exp(s[0] - s[1]));
    });
    return map("softmax", {powers, sum(powers, -1, true)},
               [](std::span<const Scalar> s) { return where(equal(s[1], 0), 0, s[0] / s[1]); });
  }
};

// The weight of each key for each query; the same nodes in `expand` and in the gradient.
Expr weights(const Attention& op, std::span<const Expr> in) {
  Expr scores = matmul(in[0], in[1], {.transpose_b = true}) * op.scale.value;
  if (in.size() > 3) {
    scores = in[3].dtype() == DType::boolean ? where(in[3], scores, -infinity) : scores + in[3];
  }
  if (op.causal) {
    const Shape& shape = scores.shape();
    scores = map("where", {scores, coordinate(shape, -2), coordinate(shape, -1)},
                 [](std::span<const Scalar> s) { return where(s[2] <= s[1], s[0], -infinity); });
  }
  return make(SoftmaxOrZero{}, {scores});
}

Shape with_last(const Shape& batch, std::int64_t rows, std::int64_t columns) {
  std::vector<std::int64_t> sizes = detail::sizes_of(batch);
  sizes.push_back(rows);
  sizes.push_back(columns);
  return Shape(sizes);
}

Shape batch_of(const Shape& shape) {
  return Shape(shape.sizes().first(static_cast<std::size_t>(shape.rank() - 2)));
}

Expr spread(const Expr& x, const Shape& batch) {
  return broadcast_to(x, with_last(batch, x.shape()[x.rank() - 2], x.shape()[x.rank() - 1]));
}

Expr spread_mask(const Expr& mask, const Shape& scores) {
  try {
    return broadcast_to(mask, scores);
  } catch (const Error&) {
    fail({"mask ", mask.shape(), " does not broadcast to the scores ", scores});
  }
}

}  // namespace

TensorType Attention::infer(Types in) const {
  const Shape& q = in[0].shape;
  const Shape& k = in[1].shape;
  const Shape& v = in[2].shape;
  const int rank = q.rank();
  require(is_floating(in[0].dtype) && !is_half(in[0].dtype), "wants f32 or f64, got ", in[0].dtype);
  require(in[0].dtype == in[1].dtype && in[0].dtype == in[2].dtype, "dtypes differ: ", in[0].dtype,
          ", ", in[1].dtype, " and ", in[2].dtype, "; convert with astype");
  check_internal(rank >= 2 && k.rank() == rank && v.rank() == rank, "attention of ", q, ", ", k,
                 " and ", v);
  require(q[rank - 1] == k[rank - 1], "queries and keys differ in their last axis: ", q, " and ",
          k);
  require(k[rank - 2] == v[rank - 2], "keys and values differ in number: ", k, " and ", v);
  if (in.size() > 3) {
    require(in[3].dtype == DType::boolean || in[3].dtype == in[0].dtype,
            "the mask must be bool or ", in[0].dtype, ", got ", in[3].dtype);
  }
  return {in[0].dtype, with_last(batch_of(q), q[rank - 2], v[rank - 1])};
}

std::vector<Expr> Attention::vjp(const Backward& b) const {
  std::vector<Expr> in, gradients(static_cast<std::size_t>(b.input_count()));
  for (int i = 0; i < b.input_count(); ++i) in.push_back(b.input(i));
  const Expr p = weights(*this, in);
  const Expr dy = b.dy();
  if (b.wants(2)) gradients[2] = matmul(p, dy, {.transpose_a = true});
  const bool has_mask = in.size() > 3 && b.wants(3);
  if (!b.wants(0) && !b.wants(1) && !has_mask) return gradients;
  const Expr dp = matmul(dy, in[2], {.transpose_b = true});
  const Expr ds = p * (dp - sum(dy * b.y(), -1, true));
  if (b.wants(0)) gradients[0] = matmul(ds, in[1]) * scale.value;
  if (b.wants(1)) gradients[1] = matmul(ds, in[0], {.transpose_a = true}) * scale.value;
  if (has_mask) gradients[3] = ds;
  return gradients;
}

Expr Attention::expand(std::span<const Expr> in) const { return matmul(weights(*this, in), in[2]); }

Cost Attention::cost(Types in, Types out) const {
  Cost cost = detail::default_cost(in, out);
  const Shape& q = in[0].shape;
  const Shape& v = in[2].shape;
  cost.flops = 2 * static_cast<double>(q.size()) * static_cast<double>(v[v.rank() - 2]) +
               2 * static_cast<double>(out[0].shape.size()) * static_cast<double>(v[v.rank() - 2]);
  return cost;
}

std::string Attention::print() const {
  return join({"scale ", scale.value, causal ? ", causal" : ""});
}

Expr attention(Arg q, Arg k, Arg v, const AttentionOptions& options) {
  return detail::in_context(Attention::name, q.where(), [&] {
    std::vector<Expr> in = {as_expr(q, DType::f32), as_expr(k, DType::f32), as_expr(v, DType::f32)};
    for (const Expr& e : in) require(e.rank() >= 2, "wants [.., T, d], got ", e.shape());
    const DType dtype = in[0].dtype();
    if (is_half(dtype) && in[1].dtype() == dtype && in[2].dtype() == dtype) {
      AttentionOptions wide = options;
      if (wide.mask && wide.mask.dtype() == dtype) wide.mask = cast(wide.mask, DType::f32);
      return cast(attention(cast(in[0], DType::f32), cast(in[1], DType::f32),
                            cast(in[2], DType::f32), wide),
                  dtype);
    }
    Shape batch = batch_of(in[0].shape());
    for (const Expr& e : in) batch = broadcast(batch, batch_of(e.shape()));
    for (Expr& e : in) e = spread(e, batch);
    const Shape& of_q = in[0].shape();
    const std::int64_t queries = of_q[of_q.rank() - 2], d = of_q[of_q.rank() - 1];
    const std::int64_t keys = in[1].shape()[of_q.rank() - 2];
    if (options.mask) in.push_back(spread_mask(options.mask, with_last(batch, queries, keys)));
    const double scale = options.scale ? *options.scale
                         : d == 0      ? 1
                                       : 1 / std::sqrt(static_cast<double>(d));
    return make(Attention{options.causal, scale}, in);
  });
}

}  // namespace blockgrad
