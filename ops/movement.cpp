#include "blockgrad/ops/movement.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/rules.h"

namespace blockgrad {

using detail::in_context;

namespace {

using Numbers = std::span<const std::int64_t>;

std::vector<std::int64_t> sizes_of(const Expr& x) { return detail::sizes_of(x.shape()); }

// x through a layout; x itself if that changes nothing.
Expr viewed(const Expr& x, const Layout& layout, std::string_view name, SourceLoc where) {
  return layout == Layout::dense(x.shape()) ? x : make(View{layout, name}, {x}, where);
}

// Cuts axis `at` of a layout down to start:stop:step by the rules of NumPy.
void cut(Layout& layout, int at, const Range& range) {
  std::int64_t step = range.step;
  require(step != 0, "the step must not be 0");
  const std::int64_t n = layout.shape[at];
  const std::int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
  const auto clipped = [&](std::int64_t i) { return std::clamp(i < 0 ? i + n : i, low, high); };
  const std::int64_t first = range.start ? clipped(*range.start) : step > 0 ? low : high;
  const std::int64_t last = range.stop ? clipped(*range.stop) : step > 0 ? high : low;
  // A longer step takes the first element too, and cannot overflow.
  step = std::clamp(step, -std::max<std::int64_t>(n, 1), std::max<std::int64_t>(n, 1));
  const std::int64_t way = step > 0 ? last - first : first - last;
  const std::int64_t size = way <= 0 ? 0 : (way - 1) / std::abs(step) + 1;
  std::vector<std::int64_t> sizes = detail::sizes_of(layout.shape);
  sizes[static_cast<std::size_t>(at)] = size;
  layout.shape = Shape(sizes);
  std::int64_t& stride = layout.strides[static_cast<std::size_t>(at)];
  layout.offset = size == 0 ? 0 : layout.offset + first * stride;
  // An axis of one element keeps its stride, so that a slice of everything is the value itself.
  if (size > 1) stride *= step;
}

// A layout of size 0 reads nothing; every such one is written the same way.
Expr sliced(const Expr& x, Layout layout, std::string_view name, SourceLoc where) {
  if (layout.shape.size() == 0) layout = Layout::dense(layout.shape);
  return viewed(x, layout, name, where);
}

// [.., n, ..] -> [.., before x n x after, ..]: each run of n `before` times, each element `after`
// times.
Expr repeated(const Expr& x, int axis, std::int64_t before, std::int64_t after, SourceLoc where) {
  std::int64_t outer = 1, inner = 1;
  for (int a = 0; a < axis; ++a) outer *= x.shape()[a];
  for (int a = axis + 1; a < x.rank(); ++a) inner *= x.shape()[a];
  const std::int64_t n = x.shape()[axis];
  std::vector<std::int64_t> sizes = sizes_of(x);
  sizes[static_cast<std::size_t>(axis)] = checked_multiply(n, checked_multiply(before, after));
  const Expr apart = reshape(x, Shape{outer, 1, n, 1, inner}, where);
  return reshape(broadcast_to(apart, Shape{outer, before, n, after, inner}, where), Shape(sizes),
                 where);
}

// Throws Error unless `value` is one of the dtype's own.
void require_holds(double value, DType dtype) {
  const bool holds = visit(dtype, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (is_floating(dtype_of<T>())) return true;
    else if constexpr (std::is_same_v<T, bool>) return value == 0 || value == 1;
    else
      // The upper bound of i64 is no double; the power of two above it is.
      return value == std::floor(value) &&
             value >= static_cast<double>(std::numeric_limits<T>::min()) &&
             value < std::ldexp(1.0, std::numeric_limits<T>::digits);
  });
  require(holds, "the value ", value, " does not fit ", dtype);
}

}  // namespace

Expr transpose(Arg x) {
  const Expr e = as_expr(x, DType::f32);
  return in_context("transpose", x.where(), [&] {
    require(e.rank() >= 2, "wants at least two axes, got ", e.shape());
    Layout layout = Layout::dense(e.shape());
    std::vector<std::int64_t> sizes = sizes_of(e);
    const auto last = static_cast<std::size_t>(e.rank() - 1);
    std::swap(sizes[last], sizes[last - 1]);
    std::swap(layout.strides[last], layout.strides[last - 1]);
    layout.shape = Shape(sizes);
    return make(View{layout, "transpose"}, {e}, x.where());
  });
}

Expr flatten(Arg x, int first_axis) {
  const Expr e = as_expr(x, DType::f32);
  return in_context("flatten", x.where(), [&] {
    const int first = e.rank() == 0 ? 0 : normalize_axis(first_axis, e.rank());
    std::vector<std::int64_t> sizes(e.shape().sizes().begin(), e.shape().sizes().begin() + first);
    std::int64_t rest = 1;
    for (int a = first; a < e.rank(); ++a) rest *= e.shape()[a];
    sizes.push_back(rest);
    return reshape(e, Shape(sizes), x.where());
  });
}

Expr expand_dims(Arg x, const Axes& axes) {
  const Expr e = as_expr(x, DType::f32);
  return in_context("expand_dims", x.where(), [&] {
    std::vector<std::int64_t> sizes = sizes_of(e);
    for (const int at : detail::normalize_axes(axes, e.rank() + static_cast<int>(axes.list.size())))
      sizes.insert(sizes.begin() + at, 1);
    return reshape(e, Shape(sizes), x.where());
  });
}

Expr squeeze(Arg x, const Axes& axes) {
  const Expr e = as_expr(x, DType::f32);
  return in_context("squeeze", x.where(), [&] {
    std::vector<std::int64_t> sizes = sizes_of(e);
    if (axes.list.empty()) std::erase(sizes, 1);
    for (const int axis : axes.list) {
      require(e.shape()[normalize_axis(axis, e.rank())] == 1, "axis ", axis, " of ", e.shape(),
              " is not of size 1");
    }
    const std::vector<int> dropped = detail::normalize_axes(axes, e.rank());
    for (auto at = dropped.rbegin(); at != dropped.rend(); ++at) sizes.erase(sizes.begin() + *at);
    return reshape(e, Shape(sizes), x.where());
  });
}

Expr flip(Arg x, const Axes& axes) {
  const Expr e = as_expr(x, DType::f32);
  return in_context("flip", x.where(), [&] {
    std::vector<int> reversed = detail::normalize_axes(axes, e.rank());
    for (int a = 0; axes.list.empty() && a < e.rank(); ++a) reversed.push_back(a);
    Layout layout = Layout::dense(e.shape());
    for (const int a : reversed) cut(layout, a, {.step = -1});
    return sliced(e, layout, "flip", x.where());
  });
}

Expr slice(Arg x, int axis, std::int64_t start, std::int64_t stop, std::int64_t step) {
  const Expr e = as_expr(x, DType::f32);
  return in_context("slice", x.where(), [&] {
    Layout layout = Layout::dense(e.shape());
    cut(layout, normalize_axis(axis, e.rank()), {start, stop, step});
    return sliced(e, layout, "slice", x.where());
  });
}

Expr slice(Arg x, std::span<const Range> ranges) {
  const Expr e = as_expr(x, DType::f32);
  return in_context("slice", x.where(), [&] {
    require(ranges.size() <= static_cast<std::size_t>(e.rank()), e.shape(), " has ", e.rank(),
            " axes, got ", ranges.size(), " ranges");
    Layout layout = Layout::dense(e.shape());
    for (std::size_t a = 0; a < ranges.size(); ++a) cut(layout, static_cast<int>(a), ranges[a]);
    return sliced(e, layout, "slice", x.where());
  });
}

Expr slice(Arg x, std::initializer_list<Range> ranges) {
  return slice(x, std::span(ranges.begin(), ranges.size()));
}

std::vector<Expr> split(Arg x, std::int64_t parts, int axis) {
  // Any number of parts divides an axis of size 0.
  constexpr std::int64_t most_empty_parts = 1 << 16;
  const Expr e = as_expr(x, DType::f32);
  return in_context("split", x.where(), [&] {
    const std::int64_t n = e.shape()[normalize_axis(axis, e.rank())];
    require(parts >= 1 && n % parts == 0 && parts <= std::max(n, most_empty_parts),
            "cannot cut axis ", axis, " of ", e.shape(), " into ", parts, " equal parts");
    const std::vector<std::int64_t> sizes(static_cast<std::size_t>(parts), n / parts);
    return split(x, sizes, axis);
  });
}

std::vector<Expr> split(Arg x, Numbers sizes, int axis) {
  const Expr e = as_expr(x, DType::f32);
  return in_context("split", x.where(), [&] {
    const int at = normalize_axis(axis, e.rank());
    std::int64_t total = 0;
    for (const std::int64_t size : sizes) {
      require(size >= 0, "a size must not be negative, got ", size);
      total = checked_add(total, size);
    }
    require(total == e.shape()[at], "sizes add up to ", total, ", axis ", axis, " of ", e.shape(),
            " has ", e.shape()[at]);
    std::vector<Expr> parts;
    std::int64_t first = 0;
    for (const std::int64_t size : sizes) {
      Layout layout = Layout::dense(e.shape());
      cut(layout, at, {first, first + size, 1});
      parts.push_back(sliced(e, layout, "split", x.where()));
      first += size;
    }
    return parts;
  });
}

std::vector<Expr> split(Arg x, std::initializer_list<std::int64_t> sizes, int axis) {
  return split(x, Numbers(sizes.begin(), sizes.size()), axis);
}

Expr concat(std::span<const Expr> parts, int axis, SourceLoc where) {
  return in_context("concat", where, [&] {
    require(!parts.empty(), "wants at least one part");
    for (const Expr& part : parts) as_expr({part, where}, DType::f32);
    const int at = normalize_axis(axis, parts[0].rank());
    std::vector<std::int64_t> sizes = sizes_of(parts[0]);
    std::int64_t& total = sizes[static_cast<std::size_t>(at)];
    for (const Expr& part : parts.subspan(1)) {
      bool fits = part.rank() == parts[0].rank();
      for (int a = 0; fits && a < part.rank(); ++a)
        fits = a == at || part.shape()[a] == parts[0].shape()[a];
      require(fits, "parts do not fit along axis ", at, ": ", parts[0].shape(), " and ",
              part.shape());
      total = checked_add(total, part.shape()[at]);
    }
    const Layout whole = Layout::dense(Shape(sizes));
    Unview op{{}, whole.shape, 0.0, "concat"};
    std::int64_t first = 0;
    for (const Expr& part : parts) {
      op.layouts.push_back(
          {part.shape(), whole.strides,
           part.shape().size() == 0 ? 0 : first * whole.strides[static_cast<std::size_t>(at)]});
      first += part.shape()[at];
    }
    return make(std::move(op), {parts.begin(), parts.end()}, where);
  });
}

Expr concat(std::initializer_list<Expr> parts, int axis, SourceLoc where) {
  return concat(std::span(parts.begin(), parts.size()), axis, where);
}

Expr stack(std::span<const Expr> parts, int axis, SourceLoc where) {
  return in_context("stack", where, [&] {
    require(!parts.empty(), "wants at least one part");
    std::vector<Expr> rows;
    int at = 0;
    for (const Expr& part : parts) {
      const Expr e = as_expr({part, where}, DType::f32);
      require(e.shape() == parts[0].shape(), "parts must have one shape, got ", parts[0].shape(),
              " and ", e.shape());
      require(e.dtype() == parts[0].dtype(), "parts differ in dtype: ", parts[0].dtype(), " and ",
              e.dtype());
      at = normalize_axis(axis, e.rank() + 1);
      rows.push_back(expand_dims({e, where}, at));
    }
    return concat(rows, at, where);
  });
}

Expr stack(std::initializer_list<Expr> parts, int axis, SourceLoc where) {
  return stack(std::span(parts.begin(), parts.size()), axis, where);
}

Expr pad(Arg x, Numbers low, Numbers high, double value) {
  const Expr e = as_expr(x, DType::f32);
  return in_context("pad", x.where(), [&] {
    const auto rank = static_cast<std::size_t>(e.rank());
    require(low.size() == rank && high.size() == rank, "wants ", e.rank(), " numbers below and ",
            e.rank(), " above for ", e.shape(), ", got ", low.size(), " and ", high.size());
    require_holds(value, e.dtype());
    std::vector<std::int64_t> sizes = sizes_of(e);
    for (std::size_t a = 0; a < rank; ++a) {
      require(low[a] >= 0 && high[a] >= 0, "padding must not be negative, got ",
              std::min(low[a], high[a]), "; use slice to take away");
      sizes[a] = checked_add(checked_add(sizes[a], low[a]), high[a]);
    }
    const Layout whole = Layout::dense(Shape(sizes));
    if (whole.shape == e.shape()) return e;
    Layout inside{e.shape(), whole.strides, 0};
    for (std::size_t a = 0; a < rank && e.shape().size() > 0; ++a)
      inside.offset += low[a] * whole.strides[a];
    return make(Unview{{inside}, whole.shape, value, "pad"}, {e}, x.where());
  });
}

Expr pad(Arg x, std::initializer_list<std::int64_t> low, std::initializer_list<std::int64_t> high,
         double value) {
  return pad(x, Numbers(low.begin(), low.size()), Numbers(high.begin(), high.size()), value);
}

Expr tile(Arg x, Numbers repeats) {
  Expr e = as_expr(x, DType::f32);
  return in_context("tile", x.where(), [&] {
    std::vector<std::int64_t> sizes = sizes_of(e);
    std::vector<std::int64_t> times(repeats.begin(), repeats.end());
    const std::size_t rank = std::max(sizes.size(), times.size());
    sizes.insert(sizes.begin(), rank - sizes.size(), 1);
    times.insert(times.begin(), rank - times.size(), 1);
    e = reshape(e, Shape(sizes), x.where());
    for (std::size_t a = rank; a-- > 0;) {
      require(times[a] >= 0, "a number of repeats must not be negative, got ", times[a]);
      if (times[a] != 1) e = repeated(e, static_cast<int>(a), times[a], 1, x.where());
    }
    return e;
  });
}

Expr tile(Arg x, std::initializer_list<std::int64_t> repeats) {
  return tile(x, Numbers(repeats.begin(), repeats.size()));
}

Expr repeat(Arg x, std::int64_t count, int axis) {
  const Expr e = as_expr(x, DType::f32);
  return in_context("repeat", x.where(), [&] {
    const int at = normalize_axis(axis, e.rank());
    require(count >= 0, "the count must not be negative, got ", count);
    return count == 1 ? e : repeated(e, at, 1, count, x.where());
  });
}

Expr coordinate(const Shape& shape, int axis, SourceLoc where) {
  return in_context("coordinate", where, [&] {
    const int at = normalize_axis(axis, shape.rank());
    require(shape[at] < (std::int64_t{1} << 31), "axis of size ", shape[at], " does not fit i32");
    std::vector<std::int64_t> sizes(static_cast<std::size_t>(shape.rank()), 1);
    sizes[static_cast<std::size_t>(at)] = shape[at];
    const Tensor steps =
        arange(0, static_cast<double>(shape[at]), 1, DType::i32).reshape(Shape(sizes));
    return broadcast_to(constant(steps, where), shape, where);
  });
}

}  // namespace blockgrad
