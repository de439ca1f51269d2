#pragma once
// Elementwise ops. Arguments broadcast as in NumPy; a number takes the tensor's dtype; two tensors
// must share a dtype (convert with astype). Gradients are rows of graph/scalar.def. At a kink:
// abs'(0) = 0, relu'(0) = 0; ties in maximum and minimum share the gradient evenly. IEEE
// throughout: NaN goes through every op.

#include "blockgrad/graph/map.h"

namespace blockgrad {

namespace detail {
Expr unary(ScalarOp op, const Arg& a);
Expr binary(ScalarOp op, const Arg& a, const Arg& b);
}  // namespace detail

#define BG_UNARY(name, types, value, adjoint) \
  inline Expr name(Arg a) { return detail::unary(ScalarOp::name, a); }
#define BG_BINARY(name, types, value, to_a, to_b) \
  inline Expr name(Arg a, Arg b) { return detail::binary(ScalarOp::name, a, b); }
#define BG_PREDICATE(name, value) BG_UNARY(name, F, value, 0)
#define BG_COMPARE(name, value) BG_BINARY(name, F, value, 0, 0)
#define BG_LOGICAL(name, value) BG_BINARY(name, F, value, 0, 0)
#include "blockgrad/graph/scalar.def"
#undef BG_UNARY
#undef BG_BINARY
#undef BG_PREDICATE
#undef BG_COMPARE
#undef BG_LOGICAL

inline Expr logical_not(Arg a) { return detail::unary(ScalarOp::logical_not, a); }
/// a where c is true, else b; the branch not taken gets gradient exactly 0.
Expr where(Arg c, Arg a, Arg b);
/// a * b + c, rounded once on every device.
Expr fma(Arg a, Arg b, Arg c);
/// The same values as another dtype. Floating to integer truncates, saturates, and turns NaN into
/// 0; to bool: x != 0. The gradient passes between floating dtypes and is cut elsewhere.
Expr astype(Arg x, DType dtype);

inline Expr operator-(const Expr& a) { return negative(a); }
inline Expr operator+(Arg a, Arg b) { return add(a, b); }
inline Expr operator-(Arg a, Arg b) { return subtract(a, b); }
inline Expr operator*(Arg a, Arg b) { return multiply(a, b); }
inline Expr operator/(Arg a, Arg b) { return divide(a, b); }
inline Expr operator<(Arg a, Arg b) { return less(a, b); }
inline Expr operator<=(Arg a, Arg b) { return less_equal(a, b); }
inline Expr operator>(Arg a, Arg b) { return greater(a, b); }
inline Expr operator>=(Arg a, Arg b) { return greater_equal(a, b); }

}  // namespace blockgrad
