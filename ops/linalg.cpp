#include "blockgrad/ops/linalg.h"

#include <algorithm>

#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/reductions.h"
#include "ops/rules.h"

namespace blockgrad {

namespace {

Shape with_batch(const Shape& batch, std::int64_t rows, std::int64_t columns) {
  std::vector<std::int64_t> sizes(batch.sizes().begin(), batch.sizes().end());
  sizes.push_back(rows);
  sizes.push_back(columns);
  return Shape(sizes);
}

Shape batch_of(const Shape& shape) {
  return Shape(shape.sizes().first(static_cast<std::size_t>(shape.rank() - 2)));
}

}  // namespace

TensorType MatMul::infer(Types in) const {
  const Shape& a = in[0].shape;
  const Shape& b = in[1].shape;
  require(in[0].dtype == in[1].dtype, "dtypes differ: ", in[0].dtype, " and ", in[1].dtype,
          "; convert one with astype");
  const DType dtype = detail::product_dtype(in[0].dtype, result, "matmul");
  require(a.rank() >= 2 && b.rank() >= 2, "wants matrices, got ", a, " x ", b);
  const std::int64_t ka = a[a.rank() - 1];
  const std::int64_t kb = b[b.rank() - 2];
  const bool fits_transposed = ka == b[b.rank() - 1];
  require(ka == kb, "inner sizes differ: ", a, " x ", b,
          fits_transposed ? "; the second operand would fit with {.transpose_b = true}" : "");
  check_internal(batch_of(a) == batch_of(b), "matmul of unequal batches ", a, " x ", b);
  return {dtype, with_batch(batch_of(a), a[a.rank() - 2], b[b.rank() - 1])};
}

std::vector<Expr> MatMul::vjp(const Backward& b) const {
  const Expr &x = b.input(0), &w = b.input(1);
  std::vector<Expr> gradients(2);
  if (b.wants(0))
    gradients[0] = detail::product_gradient(MatMul{}, b.dy(), transpose(w), x.dtype());
  if (b.wants(1))
    gradients[1] = detail::product_gradient(MatMul{}, transpose(x), b.dy(), w.dtype());
  return gradients;
}

bool MatMul::accepts(int, const Layout& layout) const {
  const int last = layout.shape.rank() - 1;
  const auto unit = [&](int axis) {
    return layout.shape[axis] <= 1 || layout.strides[static_cast<std::size_t>(axis)] == 1;
  };
  const auto positive = [&](int axis) {
    return layout.shape[axis] <= 1 || layout.strides[static_cast<std::size_t>(axis)] > 0;
  };
  return (unit(last) && positive(last - 1)) || (unit(last - 1) && positive(last));
}

Cost MatMul::cost(Types in, Types out) const {
  Cost cost = detail::default_cost(in, out);
  cost.flops = 2.0 * static_cast<double>(out[0].shape.size()) *
               static_cast<double>(in[0].shape[in[0].shape.rank() - 1]);
  return cost;
}

Expr matmul(Arg a, Arg b, MatMulOptions options) {
  Expr x = as_expr(a, DType::f32);
  Expr y = as_expr(b, DType::f32);
  if (is_half(x.dtype()) && x.dtype() == y.dtype()) {
    const Expr wide = matmul({cast(x, DType::f32, a.where()), a.where()},
                             {cast(y, DType::f32, b.where()), b.where()}, options);
    return cast(wide, x.dtype(), a.where());
  }
  const bool row = x.rank() == 1;
  const bool column = y.rank() == 1;
  if ((row && options.transpose_a) || (column && options.transpose_b)) {
    throw Error(to_string(current_origin(a.where()), "matmul") +
                join({": a vector has no axes to transpose: ", x.shape(), " x ", y.shape()}));
  }
  if (row) x = expand_dims({x, a.where()}, 0);
  if (column) y = expand_dims({y, b.where()}, 1);
  if (x.rank() >= 2 && options.transpose_a) x = transpose({x, a.where()});
  if (y.rank() >= 2 && options.transpose_b) y = transpose({y, b.where()});
  // One product over all rows: no copy of y per batch entry, here and in its gradient.
  if (x.rank() > 2 && y.rank() == 2 && !options.transpose_a && x.shape().size() > 0) {
    std::vector<std::int64_t> sizes(x.shape().sizes().begin(), x.shape().sizes().end());
    const std::int64_t k = sizes.back();
    if (k == y.shape()[0]) {
      const Expr rows = reshape(x, Shape{x.shape().size() / k, k}, a.where());
      sizes.back() = y.shape()[1];
      const Expr all = reshape(make(MatMul{}, {rows, y}, a.where()), Shape(sizes), a.where());
      return column ? squeeze({all, a.where()}, -1) : all;
    }
  }
  if (x.rank() > 2 || y.rank() > 2) {
    if (x.rank() >= 2 && y.rank() >= 2) {
      const Shape batch = [&] {
        try {
          return broadcast(batch_of(x.shape()), batch_of(y.shape()));
        } catch (const Error&) {
          throw Error(to_string(current_origin(a.where()), "matmul") +
                      join({": batch axes do not broadcast: ", x.shape(), " x ", y.shape()}));
        }
      }();
      x = broadcast_to(x, with_batch(batch, x.shape()[x.rank() - 2], x.shape()[x.rank() - 1]),
                       a.where());
      y = broadcast_to(y, with_batch(batch, y.shape()[y.rank() - 2], y.shape()[y.rank() - 1]),
                       a.where());
    }
  }
  Expr product = make(MatMul{}, {x, y}, a.where());
  if (column) product = squeeze({product, a.where()}, -1);
  if (row) product = squeeze({product, a.where()}, column ? -1 : -2);
  return product;
}

Expr linear(Arg x, Arg w, const Expr& b) {
  const Expr product = matmul(x, w);
  return b ? add({product, x.where()}, {b, x.where()}) : product;
}

Expr vecdot(Arg a, Arg b, int axis) {
  const Expr x = as_expr(a, DType::f32), y = as_expr(b, DType::f32);
  return detail::in_context("vecdot", a.where(), [&] {
    require(is_floating(x.dtype()), "wants a floating dtype, got ", x.dtype());
    const int rank = std::max(x.rank(), y.rank());
    const int from_end = normalize_axis(axis, rank) - rank;
    require(-from_end <= std::min(x.rank(), y.rank()), "axis ", axis, " is not in both ", x.shape(),
            " and ", y.shape());
    require(x.shape()[x.rank() + from_end] == y.shape()[y.rank() + from_end], "sizes of axis ",
            axis, " differ: ", x.shape(), " and ", y.shape());
    const DType dtype =
        working_dtype(x.dtype());  // each product is rounded once, in the sum's dtype
    if (x.dtype() != y.dtype()) return sum(x * y, from_end);
    return cast(sum(cast(x, dtype) * cast(y, dtype), from_end), x.dtype());
  });
}

Expr outer(Arg a, Arg b) {
  const Expr x = as_expr(a, DType::f32), y = as_expr(b, DType::f32);
  return detail::in_context("outer", a.where(), [&] {
    require(x.rank() == 1 && y.rank() == 1, "wants two vectors, got ", x.shape(), " and ",
            y.shape());
    require(is_floating(x.dtype()), "wants a floating dtype, got ", x.dtype());
    return expand_dims(x, 1) * y;
  });
}

}  // namespace blockgrad
