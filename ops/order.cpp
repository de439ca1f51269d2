#include "blockgrad/ops/order.h"

#include <utility>

#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"
#include "blockgrad/ops/index.h"
#include "ops/rules.h"

namespace blockgrad {

namespace {

void require_numbers(DType dtype) { require(dtype != DType::boolean, "wants numbers, got bool"); }

// The axis and the last one exchanged; its own inverse.
Expr with_last(const Expr& x, int axis) {
  std::vector<int> axes;
  for (int a = 0; a < x.rank(); ++a) axes.push_back(a);
  std::swap(axes[static_cast<std::size_t>(axis)], axes.back());
  return permute_dims(x, axes);
}

Expr order_of(const Expr& x, int axis, bool descending) {
  return with_last(make(Sort{descending, x.shape()[axis]}, {with_last(x, axis)}), axis);
}

}  // namespace

TensorType Sort::infer(Types in) const {
  const Shape& x = in[0].shape;
  require_numbers(in[0].dtype);
  require(x.rank() >= 1, "wants at least one axis, got a scalar");
  const std::int64_t n = x[x.rank() - 1];
  require(n < (std::int64_t{1} << 31), "lines of ", n, " elements do not fit i32");
  require(count >= 0 && count <= n, count, " elements of lines of ", n);
  std::vector<std::int64_t> sizes(x.sizes().begin(), x.sizes().end());
  sizes.back() = count;
  return {DType::i32, Shape(sizes)};
}

std::string Sort::print() const {
  return join({descending ? "descending, " : "ascending, ", count, " places"});
}

TensorType Scan::infer(Types in) const {
  require_numbers(in[0].dtype);
  require(!is_half(in[0].dtype), "adds ", in[0].dtype, " as f32 only; use cumsum()");
  return {is_floating(in[0].dtype) ? in[0].dtype : DType::i64, in[0].shape};
}

std::vector<Expr> Scan::vjp(const Backward& b) const {
  return {make(Scan{axis, !reverse}, {b.dy()})};
}

std::string Scan::print() const {
  return join({"over axis ", axis, reverse ? " from its end" : ""});
}

Expr sort(Arg x, int axis, bool descending) {
  const Expr e = as_expr(x, DType::f32);
  return detail::in_context("sort", x.where(), [&] {
    const int a = detail::axis_of(e.shape(), axis);
    return detail::along_axis(e, order_of(e, a, descending), a);
  });
}

Expr argsort(Arg x, int axis, bool descending) {
  const Expr e = as_expr(x, DType::f32);
  return detail::in_context("argsort", x.where(), [&] {
    return order_of(e, detail::axis_of(e.shape(), axis), descending);
  });
}

TopK topk(Arg x, std::int64_t k) {
  const Expr e = as_expr(x, DType::f32);
  return detail::in_context("topk", x.where(), [&] {
    require(e.rank() >= 1, "wants at least one axis, got a scalar");
    const std::int64_t n = e.shape()[e.rank() - 1];
    require(k >= 0 && k <= n, "k must lie in [0, ", n, "] for shape ", e.shape(), ", got ", k);
    const Expr order = make(Sort{true, k}, {e});
    return TopK{detail::along_axis(e, order, e.rank() - 1), order};
  });
}

Expr cumsum(Arg x, int axis, bool reverse) {
  const Expr e = as_expr(x, DType::f32);
  return detail::in_context("cumsum", x.where(), [&] {
    const Scan op{detail::axis_of(e.shape(), axis), reverse};
    return is_half(e.dtype()) ? cast(make(op, {cast(e, DType::f32)}), e.dtype()) : make(op, {e});
  });
}

}  // namespace blockgrad
