#include "blockgrad/ops/movement.h"

#include <algorithm>

namespace blockgrad {

namespace {

// Errors of a rule get the op's name and the user's line in front.
template <class F>
auto in_context(std::string_view name, SourceLoc where, F f) {
  try {
    return f();
  } catch (const Error& error) {
    const std::string context = to_string(current_origin(where), name);
    if (std::string_view(error.what()).starts_with(context)) throw;  // it came from make
    throw Error(context + ": " + error.what());
  }
}

std::vector<std::int64_t> sizes_of(const Expr& x) {
  return {x.shape().sizes().begin(), x.shape().sizes().end()};
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

Expr expand_dims(Arg x, int axis) {
  const Expr e = as_expr(x, DType::f32);
  return in_context("expand_dims", x.where(), [&] {
    std::vector<std::int64_t> sizes = sizes_of(e);
    sizes.insert(sizes.begin() + normalize_axis(axis, e.rank() + 1), 1);
    return reshape(e, Shape(sizes), x.where());
  });
}

Expr squeeze(Arg x, int axis) {
  const Expr e = as_expr(x, DType::f32);
  return in_context("squeeze", x.where(), [&] {
    const int at = normalize_axis(axis, e.rank());
    require(e.shape()[at] == 1, "axis ", axis, " of ", e.shape(), " is not of size 1");
    std::vector<std::int64_t> sizes = sizes_of(e);
    sizes.erase(sizes.begin() + at);
    return reshape(e, Shape(sizes), x.where());
  });
}

Expr slice(Arg x, int axis, std::int64_t start, std::int64_t stop, std::int64_t step) {
  const Expr e = as_expr(x, DType::f32);
  return in_context("slice", x.where(), [&] {
    const int at = normalize_axis(axis, e.rank());
    require(step > 0, "the step must be positive, got ", step);
    const std::int64_t n = e.shape()[at];
    step =
        std::min(step, std::max<std::int64_t>(n, 1));  // a longer one takes the first element too
    const auto clipped = [n](std::int64_t i) {
      return std::clamp<std::int64_t>(i < 0 ? i + n : i, 0, n);
    };
    const std::int64_t first = clipped(start);
    const std::int64_t last = std::max(first, clipped(stop));
    Layout layout = Layout::dense(e.shape());
    std::vector<std::int64_t> sizes = sizes_of(e);
    sizes[static_cast<std::size_t>(at)] = (last - first + step - 1) / step;
    layout.shape = Shape(sizes);
    layout.offset =
        layout.shape.size() == 0 ? 0 : first * layout.strides[static_cast<std::size_t>(at)];
    layout.strides[static_cast<std::size_t>(at)] *= step;
    if (layout.shape == e.shape()) return e;
    return make(View{layout, "slice"}, {e}, x.where());
  });
}

Expr concat(std::span<const Expr> parts, int axis, SourceLoc where) {
  return in_context("concat", where, [&] {
    require(!parts.empty(), "wants at least one part");
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
