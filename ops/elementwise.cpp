#include "blockgrad/ops/elementwise.h"

namespace blockgrad {

TensorType CheckDivisor::infer(Types in) const {
  require(is_integer(in[0].dtype), "wants integers, got ", in[0].dtype);
  return in[0];
}

namespace detail {

namespace {

// Integers have no value for division by 0.
Arg checked_divisor(ScalarOp op, const Arg& b, SourceLoc where) {
  if (b.is_number() || !b.expr() || !is_integer(b.expr().dtype())) return b;
  return {make(CheckDivisor{name(op)}, {b.expr()}, where), where};
}

}  // namespace

Expr unary(ScalarOp op, const Arg& a) {
  return map(name(op), {a},
             [op](std::span<const Scalar> x) { return ScalarRecorder::record(op, {x[0]}); });
}

Expr binary(ScalarOp op, const Arg& a, const Arg& b) {
  const bool divides = op == ScalarOp::floor_divide || op == ScalarOp::remainder;
  const bool by_zero = divides && b.is_number() && b.number() == 0;
  const SourceLoc where = a.is_number() ? b.where() : a.where();
  return map(name(op), {a, divides ? checked_divisor(op, b, where) : b},
             [&](std::span<const Scalar> x) {
               if (by_zero && is_integer(x[0].dtype()))
                 fail({"the divisor of ", x[0].dtype(), " must not be 0"});
               return ScalarRecorder::record(op, {x[0], x[1]});
             });
}

}  // namespace detail

Expr where(Arg c, Arg a, Arg b) {
  return map("where", {c, a, b}, [](std::span<const Scalar> x) { return where(x[0], x[1], x[2]); });
}

Expr fma(Arg a, Arg b, Arg c) {
  return map("fma", {a, b, c}, [](std::span<const Scalar> x) { return fma(x[0], x[1], x[2]); });
}

Expr astype(Arg x, DType dtype) { return cast(as_expr(x, dtype), dtype, x.where()); }

}  // namespace blockgrad
