#include "blockgrad/ops/index.h"

#include "blockgrad/graph/view.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/movement.h"

namespace blockgrad {

namespace {

void require_indices(const TensorType& type) {
  require(type.dtype == DType::i32 || type.dtype == DType::i64, "indices must be i32 or i64, got ",
          type.dtype);
}

// [indices.., rest of x without axis 0]
Shape gathered(const Shape& x, const Shape& indices) {
  std::vector<std::int64_t> sizes(indices.sizes().begin(), indices.sizes().end());
  sizes.insert(sizes.end(), x.sizes().begin() + 1, x.sizes().end());
  return Shape(sizes);
}

}  // namespace

TensorType CheckIndex::infer(Types in) const {
  require_indices(in[0]);
  return in[0];
}

TensorType Gather::infer(Types in) const {
  require_indices(in[1]);
  require(in[0].shape.rank() >= 1, "wants rows, got a scalar");
  return {in[0].dtype, gathered(in[0].shape, in[1].shape)};
}

std::vector<Expr> Gather::vjp(const Backward& b) const {
  const TensorType& x = b.input(0).type();
  const Expr start = broadcast_to(constant(zeros({}, x.dtype)), x.shape);
  return {make(ScatterAdd{}, {start, b.input(1), b.dy()}), Expr()};
}

TensorType ScatterAdd::infer(Types in) const {
  require_indices(in[1]);
  require(in[0].shape.rank() >= 1, "wants rows, got a scalar");
  require(in[0].dtype != DType::boolean, "wants numbers, got bool");
  require(in[0].dtype == in[2].dtype, "dtypes differ: ", in[0].dtype, " and ", in[2].dtype);
  const Shape expected = gathered(in[0].shape, in[1].shape);
  require(in[2].shape == expected, "the added rows must have shape ", expected, ", got ",
          in[2].shape);
  return in[0];
}

std::vector<Expr> ScatterAdd::vjp(const Backward& b) const {
  return {b.dy(), Expr(), b.wants(2) ? make(Gather{}, {b.dy(), b.input(1)}) : Expr()};
}

namespace detail {
Expr checked_index(const Expr& indices, std::int64_t n, SourceLoc where) {
  return make(CheckIndex{n}, {indices}, where);
}
}  // namespace detail

Expr take(Arg x, Arg indices) {
  const Expr e = as_expr(x, DType::f32);
  require(e.rank() >= 1, to_string(current_origin(x.where()), "take"),
          ": wants rows, got a scalar");
  const Expr i = detail::checked_index(as_expr(indices, DType::i32), e.shape()[0], x.where());
  return make(Gather{}, {e, i}, x.where());
}

Expr scatter_add(Arg x, Arg indices, Arg v) {
  const Expr e = as_expr(x, DType::f32);
  require(e.rank() >= 1, to_string(current_origin(x.where()), "scatter_add"),
          ": wants rows, got a scalar");
  const Expr i = detail::checked_index(as_expr(indices, DType::i32), e.shape()[0], x.where());
  return make(ScatterAdd{}, {e, i, as_expr(v, e.dtype())}, x.where());
}

Expr one_hot(Arg indices, std::int64_t n, DType dtype) {
  const Expr i = detail::checked_index(as_expr(indices, DType::i32), n, indices.where());
  const Expr column = expand_dims({i, indices.where()}, -1);
  std::vector<std::int64_t> sizes(i.shape().sizes().begin(), i.shape().sizes().end());
  sizes.push_back(n);
  const Expr place = coordinate(Shape(sizes), -1, indices.where());
  return map("one_hot", {{place, indices.where()}, {column, indices.where()}},
             [&](std::span<const Scalar> s) {
               return astype(equal(astype(s[0], i.dtype()), s[1]), dtype);
             });
}

}  // namespace blockgrad
