#include "blockgrad/ops/pool.h"

#include <algorithm>
#include <array>
#include <limits>

#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/reductions.h"
#include "blockgrad/ops/windows.h"
#include "ops/rules.h"
#include "ops/window_layout.h"

namespace blockgrad {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// How a window moves along one axis.
struct Steps {
  std::int64_t size, stride, padding;
};

// The type of the pooled value of x [.., H, W].
TensorType pooled(const TensorType& x, std::span<const Steps> steps) {
  require(is_floating(x.dtype), "wants a floating dtype, got ", x.dtype);
  const int count = static_cast<int>(steps.size());
  require(x.shape.rank() >= count && x.shape.rank() + count <= max_rank, "wants ", count, " to ",
          max_rank - count, " axes, got ", x.shape);
  std::vector<std::int64_t> sizes = detail::sizes_of(x.shape);
  for (int a = 0; a < count; ++a) {
    const auto& [size, stride, padding] = steps[static_cast<std::size_t>(a)];
    const int axis = x.shape.rank() - count + a;
    require(size >= 1, "the size must be at least 1, got ", size);
    require(stride >= 1, "the stride must be at least 1, got ", stride);
    require(padding >= 0, "the padding must not be negative, got ", padding);
    require(padding < size && x.shape[axis] > 0, "a window of padding only has no value: axis ",
            axis, " of ", x.shape, " with a window of ", size, " and a padding of ", padding);
    const std::int64_t padded = checked_add(x.shape[axis], checked_multiply(2, padding));
    require(padded >= size, "the window covers ", size, " elements along axis ", axis,
            ", the padded input has ", padded, " (", x.shape[axis], " + 2 x ", padding, ")");
    sizes[static_cast<std::size_t>(axis)] = (padded - size) / stride + 1;
  }
  return {x.dtype, Shape(sizes)};
}

std::array<Steps, 2> steps_of(const Pair& size, const Pair& stride, const Pair& padding) {
  return {Steps{size.rows, stride.rows, padding.rows},
          Steps{size.columns, stride.columns, padding.columns}};
}

Expr padded(const Expr& x, const Pair& by, double value) {
  std::vector<std::int64_t> both(static_cast<std::size_t>(x.rank()), 0);
  both[both.size() - 2] = by.rows;
  both[both.size() - 1] = by.columns;
  return pad(x, both, both, value);
}

Expr seen(const Expr& x, const Pair& size, const Pair& stride) {
  return windows(x, {size.rows, size.columns}, {stride.rows, stride.columns});
}

Expr average(const Expr& x, const Pair& size, const Pair& stride, const Pair& padding,
             bool count_padding) {
  // bf16 and f16 are only stored: their sums are kept in f32 until they are divided.
  const DType dtype = working_dtype(x.dtype());
  const auto total = [&](const Expr& e) {
    return sum(seen(padded(e, padding, 0), size, stride), {-2, -1});
  };
  const Shape image{x.shape()[x.rank() - 2], x.shape()[x.rank() - 1]};
  const Expr count =
      count_padding || padding == Pair(0)
          ? constant(
                full({}, static_cast<double>(size.rows) * static_cast<double>(size.columns), dtype))
          : total(constant(ones(image, dtype)));
  return astype(total(astype(x, dtype)) / count, x.dtype());
}

Expr without(const Expr& x, const Pair& padding, const Shape& original) {
  const std::int64_t rows = original[x.rank() - 2], columns = original[x.rank() - 1];
  return slice(slice(x, -2, padding.rows, padding.rows + rows), -1, padding.columns,
               padding.columns + columns);
}

// Where the first maximum of each window lies, in row-major order, or the first NaN.
struct Firsts {
  Shape whole;  // of x with its padding
  Expr number;  // of the elements of a window, [h, w]
  Expr first;   // of the maximum, [.., H', W', 1, 1]

  Firsts(const Expr& x, const Pair& size, const Pair& stride, const Pair& padding) {
    const Expr around = padded(x, padding, -infinity);
    whole = around.shape();
    const Expr elements = seen(around, size, stride);  // [.., H', W', h, w]
    const std::int64_t taps = size.rows * size.columns;
    number = constant(
        arange(0, static_cast<double>(taps), 1, DType::i32).reshape({size.rows, size.columns}));
    // A place of the padding is no maximum, even where all elements are -inf.
    const Shape image{x.shape()[x.rank() - 2], x.shape()[x.rank() - 1]};
    const Expr real = seen(padded(constant(ones(image, DType::boolean)), padding, 0), size, stride);
    const Expr y = max(elements, {-2, -1}, true);
    const Expr rank = map("max_pool2d", {elements, y, number, real}, [&](auto s) {
      const Scalar is_largest =
          logical_or(equal(s[0], s[1]), logical_and(isnan(s[0]), isnan(s[1])));
      return where(logical_and(is_largest, s[3]), s[2], static_cast<double>(taps));
    });
    first = min(rank, {-2, -1}, true);
  }
};

std::string text_of(const Pair& size, const Pair& stride, const Pair& padding) {
  const auto pair = [](const Pair& p) { return join({p.rows, "x", p.columns}); };
  return "size " + pair(size) + " stride " + pair(stride) + " padding " + pair(padding);
}

Expr nothing_like(const Expr& x) { return broadcast_to(constant(zeros({}, x.dtype())), x.shape()); }

// bf16 and f16 are only stored; the largest element is the same in f32.
template <class Pool>
Expr in_working_dtype(const Expr& x, Pool pool) {
  return is_half(x.dtype()) ? astype(pool(astype(x, DType::f32)), x.dtype()) : pool(x);
}

// A pool over [.., L] as one over [.., 1, L].
template <class Pool>
Expr over_one_row(const Expr& x, Pool pool) {
  return squeeze(pool(expand_dims(x, -2)), -2);
}

}  // namespace

TensorType MaxPool2d::infer(Types in) const {
  const TensorType y = pooled(in[0], steps_of(size, stride, padding));
  require(!is_half(in[0].dtype), "pools ", in[0].dtype, " as f32 only; use max_pool2d()");
  require(checked_multiply(size.rows, size.columns) < std::int64_t{1} << 31, "a window of ",
          size.rows, " x ", size.columns, " has more than 2^31 elements");
  return y;
}

Expr MaxPool2d::expand(std::span<const Expr> in) const {
  return max(seen(padded(in[0], padding, -infinity), size, stride), {-2, -1});
}

std::vector<Expr> MaxPool2d::vjp(const Backward& b) const {
  return {make(MaxPool2dInput{size, stride, padding}, {b.input(0), b.dy()})};
}

std::string MaxPool2d::print() const { return text_of(size, stride, padding); }

TensorType MaxPool2dInput::infer(Types in) const {
  const TensorType y = MaxPool2d{size, stride, padding}.infer(in.first(1));
  require(in[1] == y, "the adjoint must be ", to_string(y), ", got ", to_string(in[1]));
  return in[0];
}

std::vector<Expr> MaxPool2dInput::vjp(const Backward& b) const {
  std::vector<Expr> gradients(2);
  const Expr& x = b.input(0);
  if (b.wants(0)) gradients[0] = nothing_like(x);
  if (b.wants(1)) gradients[1] = make(MaxPool2dPick{size, stride, padding}, {x, b.dy()});
  return gradients;
}

Expr MaxPool2dInput::expand(std::span<const Expr> in) const {
  const Expr& x = in[0];
  const Firsts firsts(x, size, stride, padding);
  const Expr sent = map("max_pool2d", {firsts.number, firsts.first, expand_dims(in[1], {-2, -1})},
                        [](auto s) { return where(equal(s[0], s[1]), s[2], 0); });
  const Layout layout = detail::window_layout(firsts.whole, std::array{size.rows, size.columns},
                                              std::array{stride.rows, stride.columns}, {});
  return without(make(Unview{{layout}, firsts.whole, 0.0, "windows"}, {sent}), padding, x.shape());
}

std::string MaxPool2dInput::print() const { return text_of(size, stride, padding); }

TensorType MaxPool2dPick::infer(Types in) const {
  const TensorType y = MaxPool2d{size, stride, padding}.infer(in.first(1));
  require(in[1] == in[0], "the values must be ", to_string(in[0]), ", got ", to_string(in[1]));
  return y;
}

std::vector<Expr> MaxPool2dPick::vjp(const Backward& b) const {
  std::vector<Expr> gradients(2);
  const Expr& x = b.input(0);
  if (b.wants(0)) gradients[0] = nothing_like(x);
  if (b.wants(1)) gradients[1] = make(MaxPool2dInput{size, stride, padding}, {x, b.dy()});
  return gradients;
}

Expr MaxPool2dPick::expand(std::span<const Expr> in) const {
  const Firsts firsts(in[0], size, stride, padding);
  const Expr values = seen(padded(in[1], padding, 0), size, stride);
  const Expr picked = map("max_pool2d", {firsts.number, firsts.first, values},
                          [](auto s) { return where(equal(s[0], s[1]), s[2], 0); });
  return sum(picked, {-2, -1});
}

std::string MaxPool2dPick::print() const { return text_of(size, stride, padding); }

Expr max_pool2d(Arg x, const Pair& size, const MaxPool2dOptions& options) {
  return detail::in_context("max_pool2d", x.where(), [&] {
    const MaxPool2d op{size, options.stride.value_or(size), options.padding};
    return in_working_dtype(as_expr(x, DType::f32), [&](const Expr& e) { return make(op, {e}); });
  });
}

Expr max_pool1d(Arg x, std::int64_t size, const MaxPool1dOptions& options) {
  return detail::in_context("max_pool1d", x.where(), [&] {
    const Expr e = as_expr(x, DType::f32);
    const std::int64_t stride = options.stride.value_or(size);
    pooled(e.type(), std::array{Steps{size, stride, options.padding}});
    const MaxPool2d op{{1, size}, {1, stride}, {0, options.padding}, "max_pool1d"};
    return in_working_dtype(e, [&](const Expr& wide) {
      return over_one_row(wide, [&](const Expr& rows) { return make(op, {rows}); });
    });
  });
}

Expr avg_pool2d(Arg x, const Pair& size, const AvgPool2dOptions& options) {
  return detail::in_context("avg_pool2d", x.where(), [&] {
    const Expr e = as_expr(x, DType::f32);
    const Pair stride = options.stride.value_or(size);
    pooled(e.type(), steps_of(size, stride, options.padding));
    return average(e, size, stride, options.padding, options.count_padding);
  });
}

Expr avg_pool1d(Arg x, std::int64_t size, const AvgPool1dOptions& options) {
  return detail::in_context("avg_pool1d", x.where(), [&] {
    const Expr e = as_expr(x, DType::f32);
    const std::int64_t stride = options.stride.value_or(size);
    pooled(e.type(), std::array{Steps{size, stride, options.padding}});
    return over_one_row(e, [&](const Expr& rows) {
      return average(rows, {1, size}, {1, stride}, {0, options.padding}, options.count_padding);
    });
  });
}

Expr global_avg_pool(Arg x) {
  return detail::in_context("global_avg_pool", x.where(), [&] {
    const Expr e = as_expr(x, DType::f32);
    require(e.rank() >= 3, "wants [N, C, ..], got ", e.shape());
    Axes axes;
    for (int a = 2; a < e.rank(); ++a) axes.list.push_back(a);
    return mean(e, axes, true);
  });
}

}  // namespace blockgrad
