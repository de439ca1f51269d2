#include "blockgrad/ops/norms.h"

#include "blockgrad/graph/view.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/reductions.h"
#include "ops/rules.h"

namespace blockgrad {

namespace {

Axes axes_of(std::uint32_t mask) {
  Axes axes;
  for (int a = 0; a < max_rank; ++a) {
    if (mask >> a & 1u) axes.list.push_back(a);
  }
  return axes;
}

std::uint32_t mask_of(const Axes& axes, int rank) {
  require(!axes.list.empty(), "wants at least one axis");
  std::uint32_t mask = 0;
  for (const int a : detail::normalize_axes(axes, rank)) mask |= 1u << a;
  return mask;
}

TensorType normalized(const TensorType& x, std::uint32_t axes, const Number& eps) {
  require(is_floating(x.dtype), "wants a floating dtype, got ", x.dtype);
  check_internal(axes != 0 && (axes >> x.shape.rank()) == 0, "axes outside of ", x.shape);
  const bool is_positive = full({}, eps.value, x.dtype).at(0) > 0;
  require(is_positive, "eps must be positive as ", x.dtype, ", got ", eps.value);
  return x;
}

std::string text_of(std::uint32_t mask, const Number& eps) {
  std::string text = "axes";
  for (const int a : axes_of(mask).list) text += join({" ", a});
  return text + join({" eps ", eps.value});
}

// x - mean x. The mean of large values is rounded to their grid; what that leaves is small, so that
// its own mean is exact enough (Chan, Golub and LeVeque 1983, the corrected two-pass algorithm).
struct Centered {
  Expr rough, rest, value;

  Centered(const Expr& x, const Axes& axes)
      : rough(mean(x, axes, true)), rest(mean(x - rough, axes, true)), value(x - rough - rest) {}
};

// bf16 and f16 are only stored: statistics are computed in f32 and the result is rounded once.
Expr working(const Expr& e) { return astype(e, working_dtype(e.dtype())); }

Expr variance_of(const Centered& x, const Axes& axes) { return mean(square(x.value), axes, true); }

Expr inverse_deviation(const Expr& variance, const Number& eps) {
  return rsqrt(variance + eps.value);
}

// The shape in which a value per element along `axes` spreads over x.
Shape spread_shape(const Shape& x, std::uint32_t axes) {
  std::vector<std::int64_t> sizes;
  for (int a = 0; a < x.rank(); ++a) sizes.push_back(axes >> a & 1u ? x[a] : 1);
  return Shape(sizes);
}

// e, of one value per element of x along `axes`, in a shape that broadcasts to x.
Expr along(const Expr& e, const Expr& x, std::uint32_t axes, std::string_view what) {
  std::vector<std::int64_t> sizes;
  for (const int a : axes_of(axes).list) sizes.push_back(x.shape()[a]);
  const TensorType expected{x.dtype(), Shape(sizes)};
  require(static_cast<bool>(e), "wants a ", what);
  require(e.type() == expected, what, " must be ", to_string(expected), ", got ",
          to_string(e.type()));
  return reshape(e, spread_shape(x.shape(), axes));
}

Expr scaled(Expr y, const Expr& gain, const Expr& shift, std::uint32_t axes) {
  const Expr x = y;
  if (gain) y = y * along(gain, x, axes, "gain");
  if (shift) y = y + along(shift, x, axes, "shift");
  return y;
}

constexpr std::uint32_t channels = 1u << 1;

// [N, C, ..], all axes but the channels.
std::uint32_t batch_axes(const Expr& x) {
  require(x.rank() >= 2, "wants [N, C, ..], got ", x.shape());
  return ((1u << x.rank()) - 1) & ~channels;
}

}  // namespace

TensorType Normalize::infer(Types in) const { return normalized(in[0], axes, eps); }

Expr Normalize::expand(std::span<const Expr> in) const {
  const Axes over = axes_of(axes);
  const Centered x(working(in[0]), over);
  return astype(x.value * inverse_deviation(variance_of(x, over), eps), in[0].dtype());
}

std::vector<Expr> Normalize::vjp(const Backward& b) const {
  const Axes over = axes_of(axes);
  const Expr x = working(b.input(0)), y = working(b.y()), dy = working(b.dy());
  const Expr scale = inverse_deviation(variance_of(Centered(x, over), over), eps);
  return {astype((dy - mean(dy, over, true) - y * mean(dy * y, over, true)) * scale,
                 b.input(0).dtype())};
}

std::string Normalize::print() const { return text_of(axes, eps); }

TensorType RmsNormalize::infer(Types in) const { return normalized(in[0], axes, eps); }

Expr RmsNormalize::expand(std::span<const Expr> in) const {
  const Expr x = working(in[0]);
  return astype(x * inverse_deviation(mean(square(x), axes_of(axes), true), eps), in[0].dtype());
}

std::vector<Expr> RmsNormalize::vjp(const Backward& b) const {
  const Axes over = axes_of(axes);
  const Expr x = working(b.input(0)), y = working(b.y()), dy = working(b.dy());
  const Expr scale = inverse_deviation(mean(square(x), over, true), eps);
  return {astype((dy - y * mean(dy * y, over, true)) * scale, b.input(0).dtype())};
}

std::string RmsNormalize::print() const { return text_of(axes, eps); }

Expr layer_norm(Arg x, const Expr& gain, const Expr& shift, const Axes& axes, double eps) {
  return detail::in_context("layer_norm", x.where(), [&] {
    const Expr e = as_expr(x, DType::f32);
    const std::uint32_t over = mask_of(axes, e.rank());
    return scaled(make(Normalize{over, eps, "layer_norm"}, {e}), gain, shift, over);
  });
}

Expr rms_norm(Arg x, const Expr& gain, const Expr& shift, const Axes& axes, double eps) {
  return detail::in_context("rms_norm", x.where(), [&] {
    const Expr e = as_expr(x, DType::f32);
    const std::uint32_t over = mask_of(axes, e.rank());
    return scaled(make(RmsNormalize{over, eps}, {e}), gain, shift, over);
  });
}

Expr group_norm(Arg x, std::int64_t groups, const Expr& gain, const Expr& shift, double eps) {
  return detail::in_context("group_norm", x.where(), [&] {
    const Expr e = as_expr(x, DType::f32);
    require(e.rank() >= 2, "wants [N, C, ..], got ", e.shape());
    const std::int64_t count = e.shape()[1];
    require(groups >= 1 && count % groups == 0, groups, " groups must divide the ", count,
            " channels of ", e.shape());
    std::int64_t each = count / groups;
    for (int a = 2; a < e.rank(); ++a) each *= e.shape()[a];
    const Expr rows = reshape(e, Shape{e.shape()[0], groups, each});
    const Expr y = make(Normalize{1u << 2, eps, "group_norm"}, {rows});
    return scaled(reshape(y, e.shape()), gain, shift, channels);
  });
}

Expr batch_norm(Arg x, const Expr& gain, const Expr& shift, const Expr& mean, const Expr& variance,
                double eps) {
  return detail::in_context("batch_norm", x.where(), [&] {
    const Expr e = as_expr(x, DType::f32);
    normalized(e.type(), batch_axes(e), eps);
    const Expr centered = e - along(mean, e, channels, "mean");
    const Expr scale = inverse_deviation(along(variance, e, channels, "variance"), eps);
    return scaled(centered * scale, gain, shift, channels);
  });
}

BatchNorm batch_norm_training(Arg x, const Expr& gain, const Expr& shift, double eps) {
  return detail::in_context("batch_norm", x.where(), [&] {
    const Expr e = as_expr(x, DType::f32);
    const std::uint32_t over = batch_axes(e);
    const std::int64_t count = e.shape()[1];
    require(count == 0 || e.shape().size() / count >= 2,
            "training wants at least two values per channel, got ", e.shape());
    const Expr y = make(Normalize{over, eps, "batch_norm"}, {e});
    const Axes list = axes_of(over);
    const Centered centered(working(e), list);
    const auto per_channel = [&](const Expr& v) {
      return reshape(astype(v, e.dtype()), Shape{count});
    };
    return BatchNorm{scaled(y, gain, shift, channels), per_channel(centered.rough + centered.rest),
                     per_channel(variance_of(centered, list))};
  });
}

Expr batch_norm(Arg x, const Expr& gain, const Expr& shift, const BatchStats& stats,
                Context& context, const BatchNormOptions& options) {
  return detail::in_context("batch_norm", x.where(), [&] {
    const Expr e = as_expr(x, DType::f32);
    const auto& [momentum, eps] = options;
    require(momentum >= 0 && momentum <= 1, "the momentum must lie in [0, 1], got ", momentum);
    require(stats.mean && stored(stats.mean) && stats.variance && stored(stats.variance),
            "the running statistics must be states");
    require(!is_parameter(stats.mean) && !is_parameter(stats.variance),
            "the running statistics must be states, not parameters");
    Updates& updates = context.updates();
    const Expr mean = updates.latest(stats.mean), variance = updates.latest(stats.variance);
    const Expr by_running = batch_norm(e, gain, shift, mean, variance, eps);
    if (!context.is_training()) return by_running;
    const BatchNorm batch = batch_norm_training(e, gain, shift, eps);
    const double n = static_cast<double>(e.shape().size()) / static_cast<double>(e.shape()[1]);
    const auto moved = [m = momentum](const Expr& old, const Expr& now) {
      return old * (1 - m) + now * m;
    };
    require(stored(stats.mean) != stored(stats.variance),
            "the running mean and variance must be two states");
    updates.chain(stats.mean, moved(mean, batch.mean));
    updates.chain(stats.variance, moved(variance, batch.variance * (n / (n - 1))));
    return batch.y;
  });
}

}  // namespace blockgrad
