#include "blockgrad/ops/elementwise.h"

namespace blockgrad {

namespace detail {

Expr unary(ScalarOp op, const Arg& a) {
  return map(name(op), {a},
             [op](std::span<const Scalar> x) { return ScalarRecorder::record(op, {x[0]}); });
}

Expr binary(ScalarOp op, const Arg& a, const Arg& b) {
  return map(name(op), {a, b},
             [op](std::span<const Scalar> x) { return ScalarRecorder::record(op, {x[0], x[1]}); });
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
