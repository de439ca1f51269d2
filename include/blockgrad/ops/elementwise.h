#pragma once
// Elementwise ops. Arguments broadcast as in NumPy; a number takes the tensor's dtype; two tensors
// must share a dtype (convert with astype). Gradients are rows of graph/scalar.def. At a kink:
// abs'(0) = 0, relu'(0) = 0; ties in maximum and minimum share the gradient evenly. IEEE
// throughout: NaN goes through every op. Errors in ulp: docs/accuracy.md.

#include "blockgrad/graph/map.h"

namespace blockgrad {

/// y = b, checked: no integer is 0. Where one is, the run ends in an Error that names the first
/// position, and updates nothing.
struct CheckDivisor {
  static constexpr std::string_view name = "check_divisor";
  std::string_view short_name = name;  // a literal: the op that divides; not compared

  bool operator==(const CheckDivisor&) const { return true; }
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward&) const { return {Expr()}; }
  bool not_differentiable(int) const { return true; }
  std::string_view title() const { return short_name; }
};

namespace detail {
Expr unary(ScalarOp op, const Arg& a);
Expr binary(ScalarOp op, const Arg& a, const Arg& b);
}  // namespace detail

/// a^b as IEEE pow: pow(a, 0) and pow(1, b) are 1, also for NaN; a negative a with a fractional b
/// gives NaN; pow(±0, b) is ±inf for odd b < 0 and inf for other b < 0. The gradients are exactly 0
/// by a where b is 0, and by b where a is 0 and b >= 0. Floating dtypes.
inline Expr pow(Arg a, Arg b);
/// floor(a / b), exact where the dtype holds it. Its gradients are 0. Division by 0: ±inf or NaN by
/// IEEE for floating dtypes; for integers an Error, of the run if b is a tensor with an element 0,
/// when built if b is the number 0. Inside a formula of `elementwise` integers by 0 give 0.
inline Expr floor_divide(Arg a, Arg b);
/// a - b floor(a / b), with the sign of b also where it is 0: remainder(-7, 3) = 2, remainder(7,
/// -3) = -2, remainder(-5, inf) = inf. Exact for any finite quotient, but for one rounding where a
/// and b differ in sign. Division by 0: NaN for floating dtypes, for integers as floor_divide.
inline Expr remainder(Arg a, Arg b);

/// x, or 0 where x is subnormal: what fades out step by step ends at 0, before arithmetic on it
/// takes many times as long. Gradient 1 everywhere. bf16 and f16 are looked at as f32.
inline Expr flush_subnormal(Arg a);

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
