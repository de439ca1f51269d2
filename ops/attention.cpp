#include "blockgrad/ops/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "blockgrad/graph/grad.h"
#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/linalg.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/reductions.h"
#include "ops/rules.h"

namespace blockgrad {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// Halves as f32, in which they are computed with.
Expr widened(const Expr& x) { return is_half(x.dtype()) ? cast(x, DType::f32) : x; }
DType widened(DType dtype) { return is_half(dtype) ? DType::f32 : dtype; }

DType result_dtype(DType operands, std::optional<DType> result) {
  const DType wide = widened(operands), dtype = result.value_or(wide);
  require(dtype == wide || dtype == operands, "what is made of ", operands, " is ", wide,
          " or of its dtype, not ", dtype);
  return dtype;
}

std::vector<Expr> all_widened(std::span<const Expr> in) {
  std::vector<Expr> wide;
  for (const Expr& x : in) wide.push_back(widened(x));
  return wide;
}

// scale q k^T + mask; -inf where a query may not see a key.
Expr scores_of(const Expr& q, const Expr& k, const Expr& mask, double scale, bool causal) {
  Expr scores = matmul(q, k, {.transpose_b = true}) * scale;
  if (mask)
    scores = mask.dtype() == DType::boolean ? where(mask, scores, -infinity) : scores + mask;
  if (!causal) return scores;
  const Shape& shape = scores.shape();
  return map("where", {scores, coordinate(shape, -2), coordinate(shape, -1)},
             [](std::span<const Scalar> s) { return where(s[2] <= s[1], s[0], -infinity); });
}

// The weight of each key for each query.
Expr weights_of(const Expr& scores, const Expr& lse) {
  return map("softmax", {scores, expand_dims(lse, -1)},
             [](std::span<const Scalar> s) { return exp(s[0] - s[1]); });
}

Expr optional_input(std::span<const Expr> in, std::size_t i) {
  return in.size() > i ? in[i] : Expr();
}

// What attention and its gradient read by rows lies densely along them, and so does a mask, but for
// one that repeats itself.
bool has_dense_rows(const Layout& layout, bool may_repeat) {
  const int last = layout.shape.rank() - 1;
  const auto stride = [&](int axis) { return layout.strides[static_cast<std::size_t>(axis)]; };
  const bool steps =
      stride(last) == 1 || layout.shape[last] <= 1 || (may_repeat && stride(last) == 0);
  return steps && (last == 0 || stride(last - 1) >= 0);
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

double pairs_of(const Shape& q, const Shape& k) {
  return static_cast<double>(q.size() / std::max<std::int64_t>(1, q[q.rank() - 1])) *
         static_cast<double>(k[k.rank() - 2]);
}

std::string options_text(double scale, bool causal) {
  return join({"scale ", scale, causal ? ", causal" : ""});
}

}  // namespace

std::vector<TensorType> Attention::infer(Types in) const {
  const Shape& q = in[0].shape;
  const Shape& k = in[1].shape;
  const Shape& v = in[2].shape;
  const int rank = q.rank();
  require(is_floating(in[0].dtype), "wants f32 or f64, got ", in[0].dtype);
  require(in[0].dtype == in[1].dtype && in[0].dtype == in[2].dtype, "dtypes differ: ", in[0].dtype,
          ", ", in[1].dtype, " and ", in[2].dtype, "; convert with astype");
  check_internal(rank >= 2 && k.rank() == rank && v.rank() == rank, "attention of ", q, ", ", k,
                 " and ", v);
  require(q[rank - 1] == k[rank - 1], "queries and keys differ in their last axis: ", q, " and ",
          k);
  require(k[rank - 2] == v[rank - 2], "keys and values differ in number: ", k, " and ", v);
  const DType dtype = widened(in[0].dtype);
  if (in.size() > 3) {
    require(in[3].dtype == DType::boolean || in[3].dtype == dtype, "the mask must be bool or ",
            dtype, ", got ", in[3].dtype);
  }
  return {{result_dtype(in[0].dtype, result), with_last(batch_of(q), q[rank - 2], v[rank - 1])},
          {dtype, Shape(q.sizes().first(static_cast<std::size_t>(rank - 1)))}};
}

std::vector<Expr> Attention::vjp(const Backward& b) const {
  std::vector<Expr> gradients(static_cast<std::size_t>(b.input_count()));
  const Expr &q = b.input(0), &k = b.input(1), &v = b.input(2), dy = b.dy(), lse = b.y(1);
  const Expr mask = b.input_count() > 3 ? b.input(3) : Expr();
  Expr delta = sum(widened(dy) * widened(b.y()), -1);
  if (b.has_dy(1)) delta = delta - b.dy(1);
  if (b.wants(0) || b.wants(1) || b.wants(2)) {
    std::vector<Expr> in = {q, k, v, cast(dy, q.dtype()), lse, delta};
    if (mask) in.push_back(mask);
    const std::vector<Expr> all = make_all(AttentionGradient{causal, scale}, in);
    for (int i = 0; i < 3; ++i) {
      const auto at = static_cast<std::size_t>(i);
      if (b.wants(i)) gradients[at] = cast(all[at], q.dtype());
    }
  }
  if (mask && b.wants(3)) {
    const Expr p = weights_of(scores_of(widened(q), widened(k), mask, scale.value, causal), lse);
    gradients[3] =
        p * (matmul(widened(dy), widened(v), {.transpose_b = true}) - expand_dims(delta, -1));
  }
  return gradients;
}

std::vector<Expr> Attention::expand(std::span<const Expr> inputs) const {
  const std::vector<Expr> in = all_widened(inputs);
  const DType y = result_dtype(inputs[0].dtype(), result);
  const Expr scores = scores_of(in[0], in[1], optional_input(in, 3), scale.value, causal);
  if (scores.shape().size() == 0) {
    const Shape lines(scores.shape().sizes().first(static_cast<std::size_t>(scores.rank() - 1)));
    return {cast(matmul(scores, in[2]), y),
            broadcast_to(constant(zeros({}, scores.dtype())), lines)};
  }
  const Expr highest = max(scores, -1, true);
  const Expr powers = map("exp", {scores, highest}, [](std::span<const Scalar> s) {
    return where(equal(s[1], -infinity), 0, exp(s[0] - s[1]));
  });
  const Expr total = sum(powers, -1, true);
  const Expr p = map("softmax", {powers, total}, [](std::span<const Scalar> s) {
    return where(equal(s[1], 0), 0, s[0] / s[1]);
  });
  const Expr lse = map("logsumexp", {highest, total}, [](std::span<const Scalar> s) {
    return where(equal(s[1], 0), 0, s[0] + log(s[1]));
  });
  return {cast(matmul(p, in[2]), y), squeeze(lse, -1)};
}

bool Attention::accepts(int input, const Layout& layout) const {
  return has_dense_rows(layout, input == 3);
}

bool Attention::makes(int output, const Layout& layout) const {
  return output == 0 ? has_dense_rows(layout, false) : layout.is_dense();
}

Cost Attention::cost(Types in, Types out) const {
  Cost cost = detail::default_cost(in, out);
  const Shape &q = in[0].shape, &v = in[2].shape;
  cost.flops =
      2 * pairs_of(q, in[1].shape) * static_cast<double>(q[q.rank() - 1] + v[v.rank() - 1]);
  return cost;
}

std::string Attention::print() const { return options_text(scale.value, causal); }

std::vector<TensorType> AttentionGradient::infer(Types in) const {
  std::vector<TensorType> results(in.begin(), in.begin() + 3);
  for (TensorType& type : results) type.dtype = result_dtype(type.dtype, result);
  return results;
}

// The partial derivatives of `expand`, taken at inputs that do not depend on each other.
std::vector<Expr> AttentionGradient::vjp(const Backward& b) const {
  const bool has_scores = b.has_dy(0) || b.has_dy(1);
  const auto is_reached = [&](int i) { return b.wants(i) && (has_scores || (i != 2 && i != 5)); };
  std::vector<Expr> in, wanted;
  for (int i = 0; i < b.input_count(); ++i) {
    in.push_back(make(View{Layout::dense(b.input(i).shape()), "alone"}, {b.input(i)}));
    if (is_reached(i)) wanted.push_back(in.back());
  }
  const std::vector<Expr> results = expand(in);
  std::vector<Expr> terms;
  for (int r = 0; r < 3; ++r) {
    if (b.has_dy(r)) terms.push_back(sum(results[static_cast<std::size_t>(r)] * b.dy(r)));
  }
  const std::vector<Expr> slopes = grad(sum_of(terms), wanted);
  std::vector<Expr> gradients;
  std::size_t next = 0;
  for (int i = 0; i < b.input_count(); ++i) {
    const TensorType& type = b.input(i).type();
    gradients.push_back(is_reached(i) ? slopes[next++]
                        : b.wants(i)  ? broadcast_to(constant(zeros({}, type.dtype)), type.shape)
                                      : Expr());
  }
  return gradients;
}

std::vector<Expr> AttentionGradient::expand(std::span<const Expr> inputs) const {
  const std::vector<Expr> in = all_widened(inputs);
  const Expr &q = in[0], &k = in[1], &v = in[2], &dy = in[3], &lse = in[4], &delta = in[5];
  const Expr p = weights_of(scores_of(q, k, optional_input(in, 6), scale.value, causal), lse);
  const Expr dp = matmul(dy, v, {.transpose_b = true});
  const Expr ds = p * (dp - expand_dims(delta, -1)) * scale.value;
  std::vector<Expr> gradients{matmul(ds, k), matmul(ds, q, {.transpose_a = true}),
                              matmul(p, dy, {.transpose_a = true})};
  for (Expr& e : gradients) e = cast(e, result_dtype(inputs[0].dtype(), result));
  return gradients;
}

bool AttentionGradient::accepts(int input, const Layout& layout) const {
  return input == 4 || input == 5 ? layout.is_dense() : has_dense_rows(layout, input == 6);
}

bool AttentionGradient::makes(int, const Layout& layout) const {
  return has_dense_rows(layout, false);
}

Cost AttentionGradient::cost(Types in, Types out) const {
  Cost cost = detail::default_cost(in, out);
  const Shape &q = in[0].shape, &v = in[2].shape;
  cost.flops =
      2 * pairs_of(q, in[1].shape) * static_cast<double>(3 * q[q.rank() - 1] + 2 * v[v.rank() - 1]);
  return cost;
}

std::string AttentionGradient::print() const { return options_text(scale.value, causal); }

Expr attention(Arg q, Arg k, Arg v, const AttentionOptions& options) {
  return detail::in_context(Attention::name, q.where(), [&] {
    std::vector<Expr> in = {as_expr(q, DType::f32), as_expr(k, DType::f32), as_expr(v, DType::f32)};
    for (const Expr& e : in) require(e.rank() >= 2, "wants [.., T, d], got ", e.shape());
    Shape batch = batch_of(in[0].shape());
    for (const Expr& e : in) batch = broadcast(batch, batch_of(e.shape()));
    for (Expr& e : in) e = spread(e, batch);
    const Shape& of_q = in[0].shape();
    const std::int64_t queries = of_q[of_q.rank() - 2], d = of_q[of_q.rank() - 1];
    const std::int64_t keys = in[1].shape()[of_q.rank() - 2];
    const DType dtype = in[0].dtype();
    if (options.mask) {
      const Expr mask = options.mask.dtype() == dtype ? widened(options.mask) : options.mask;
      in.push_back(spread_mask(mask, with_last(batch, queries, keys)));
    }
    const double scale = options.scale ? *options.scale
                         : d == 0      ? 1
                                       : 1 / std::sqrt(static_cast<double>(d));
    return cast(make_all(Attention{options.causal, scale}, in)[0], dtype);
  });
}

}  // namespace blockgrad
