#pragma once
// exp, log and what is made of them, without branches and tables. Polynomials are minimax fits for
// the stated range (Remez exchange in 40 digits, coefficients rounded in order and the rest
// refitted). Largest errors seen are in the comments; tests/graph/scalar_math_test.cpp measures
// them.

#include "graph/scalar_bits.h"

namespace blockgrad::math {

/// x = n ln 2 + r with |r| <= ln(2) / 2 and q in e^r = 1 + r + r^2 q. The low bits of `n` are the
/// integer n.
template <class T>
struct ExpParts {
  typename Format<T>::Bits n;
  T r, q;
};
/// e^r - 1.
template <class T>
BG_SCALAR T exp_tail(const ExpParts<T>& p) {
  return fma(p.r * p.r, p.q, p.r);
}
/// e^r. Of 1 + tail the rounded tail would be a quarter of a unit in the last place off where e^r
/// is below 3/4; |r| times the rounding of 1 + r q is less.
template <class T>
BG_SCALAR T exp_power(const ExpParts<T>& p) {
  return fma(p.r, fma(p.r, p.q, T(1)), T(1));
}

/// n and r of x; q is still to be made.
BG_SCALAR ExpParts<float> exp_reduced(float x) {
  const float shifted = fma(x, 0x1.715476p+0f, Format<float>::rounder);  // 1 / ln 2
  const float n = shifted - Format<float>::rounder;
  const float r = fma(n, 0x1.05c610p-29f, fma(n, -0x1.62e430p-1f, x));  // ln 2 in two parts
  return {bits(shifted), r, 0.0f};
}
BG_SCALAR ExpParts<double> exp_reduced(double x) {
  const double shifted = fma(x, 0x1.71547652b82fep+0, Format<double>::rounder);
  const double n = shifted - Format<double>::rounder;
  const double r = fma(n, -0x1.abc9e3b39803fp-56, fma(n, -0x1.62e42fefa39efp-1, x));
  return {bits(shifted), r, 0.0};
}
BG_SCALAR float exp_curve(float r) {
  return polynomial(r, 0.5f, 0x1.555464p-3f, 0x1.5552fap-5f, 0x1.12593cp-7f, 0x1.6ff338p-10f);
}
BG_SCALAR double exp_curve(double r) {
  return polynomial(r, 0.5, 0x1.555555555555dp-3, 0x1.555555555556bp-5, 0x1.111111110e58ep-7,
                    0x1.6c16c16c0b64ap-10, 0x1.a01a01b5c3625p-13, 0x1.a01a01dec6eb6p-16,
                    0x1.71ddeb4c24bcdp-19, 0x1.27e467dc28b76p-22, 0x1.af73102ecd970p-26,
                    0x1.2018b16ab550ap-29);
}
template <class T>
BG_SCALAR ExpParts<T> exp_parts(T x) {
  ExpParts<T> p = exp_reduced(x);
  p.q = exp_curve(p.r);
  return p;
}
/// Of x + rest, whose second part the first could not hold.
template <class T>
BG_SCALAR ExpParts<T> exp_parts(T x, T rest) {
  ExpParts<T> p = exp_reduced(x);
  p.r = p.r + rest;
  p.q = exp_curve(p.r);
  return p;
}

/// 2^n from the low bits of n; n in the exponent range of normal numbers.
template <class T>
BG_SCALAR T power_of_two(typename Format<T>::Bits n) {
  return from_bits((n + Format<T>::bias) << (Format<T>::digits - 1));
}

/// x, but no further out than where exp has overflowed (high) or become 0 or -1 (low). NaN stays.
template <class T>
BG_SCALAR T clamped(T x, T low, T high) {
  x = x > high ? high : x;
  return x < low ? low : x;
}

/// Where e^x is 0 or infinite further out.
template <class T>
BG_SCALAR T exp_low() {
  return T(Format<T>::digits == 24 ? -104 : -746);
}
template <class T>
BG_SCALAR T exp_high() {
  return T(Format<T>::digits == 24 ? 89 : 709.9);
}

/// e^x. Two factors for the power of two: the second rounds once where the result is subnormal.
/// What becomes 0 is not computed: many processors leave their pipeline for each underflow.
template <class T>
BG_SCALAR T exp_of(T x) {
  const bool vanishes = x < exp_low<T>();
  const T inside = x > exp_high<T>() ? exp_high<T>() : x;
  const ExpParts<T> p = exp_parts(vanishes ? T(0) : inside);
  const auto half = p.n >> 1;
  const T y = exp_power(p) * power_of_two<T>(half) * power_of_two<T>(p.n - half);
  return vanishes ? T(0) : y;
}
BG_SCALAR float exp(float x) { return exp_of(x); }
BG_SCALAR double exp(double x) { return exp_of(x); }

// Functions named _near give the bits of their namesakes for arguments in their range, without what
// only the edges need. Kernels look at all arguments first; see backends/cpu/tape_kernels.h.

/// e^x for |x| <= 86 (double: 700), where it is normal: n goes straight into the exponent.
template <class T>
BG_SCALAR T exp_near(T x) {
  const ExpParts<T> p = exp_parts(x);
  return from_bits(bits(exp_power(p)) + (p.n << (Format<T>::digits - 1)));
}
template <class T>
BG_SCALAR T exp_limit() {
  return T(Format<T>::digits == 24 ? 86 : 700);
}

/// e^x - 1 = 2 (2^(n-1) tail + (2^(n-1) - 1/2)).
template <class T>
BG_SCALAR T expm1_of(T x, T inside) {
  const ExpParts<T> p = exp_parts(inside);
  const T half = power_of_two<T>(p.n - 1);
  const T y = T(2) * fma(half, exp_tail(p), half - T(0.5));
  return with_sign(x, T(1)) < T(Format<T>::digits == 24 ? 0x1p-25 : 0x1p-54) ? x : y;
}
BG_SCALAR float expm1(float x) { return expm1_of(x, clamped(x, -40.0f, 89.0f)); }
BG_SCALAR double expm1(double x) { return expm1_of(x, clamped(x, -60.0, 709.9)); }
/// For |x| <= exp_limit.
template <class T>
BG_SCALAR T expm1_near(T x) {
  return expm1_of(x, x);
}

/// x = 2^n (1 + f), f in [-1/3, 1/3], for normal x > 0; `shift` = 2^-n, right for |n| < the bias.
template <class T>
struct LogParts {
  T n, f, shift;
};

template <class T>
BG_SCALAR LogParts<T> log_parts(T x) {
  using Bits = typename Format<T>::Bits;
  constexpr int fraction = Format<T>::digits - 1;
  constexpr Bits one = Bits(Format<T>::bias) << fraction;
  constexpr Bits two_thirds = one - (Bits(1) << fraction) + (Bits(1) << fraction) / 3;
  const Bits u = bits(x) + (one - two_thirds);
  const Bits e = u >> fraction;  // n + bias
  const T m = from_bits((u & ((Bits(1) << fraction) - 1)) + two_thirds);
  const T integer = T(Bits(1) << fraction);
  const T n = from_bits(e | bits(integer)) - (integer + T(Format<T>::bias));
  return {n, m - T(1), from_bits((Bits(2 * Format<T>::bias) - e) << fraction)};
}

/// n ln 2 + log(1 + f).
BG_SCALAR float log_sum(float n, float f) {
  const float p =
      polynomial(f, -0.5f, 0x1.5554fap-2f, -0x1.ffff94p-3f, 0x1.99d590p-3f, -0x1.557e16p-3f,
                 0x1.1e81ccp-3f, -0x1.f6ba9ep-4f, 0x1.1ff85ap-3f, -0x1.ff7b88p-4f);
  return fma(n, 0x1.62e430p-1f, f + fma(f * f, p, n * -0x1.05c610p-29f));
}
/// With s = f / (2 + f): log(1 + f) = 2 atanh(s) = f - s (f - s^2 r(s^2)), and s f = f^2 / 2 - s
/// f^2 / 2.
BG_SCALAR double log_sum(double n, double f) {
  const double s = f / (2.0 + f), z = s * s;
  const double r = z * polynomial(z, 0x1.555555555554fp-1, 0x1.999999999c175p-2,
                                  0x1.24924921e4c39p-2, 0x1.c71c748f3111fp-3, 0x1.745c4b0395667p-3,
                                  0x1.3b35bb1060f78p-3, 0x1.0dcbfe2746b13p-3, 0x1.1b7ea659c4ce8p-3);
  const double half_square = 0.5 * f * f;
  const double low = fma(s, half_square + r, n * 0x1.abc9e3b39803fp-56);
  return fma(n, 0x1.62e42fefa39efp-1, f - (half_square - low));
}

/// log x; log(+-0) = -inf, NaN below 0.
template <class T>
BG_SCALAR T log(T x) {
  constexpr int fraction = Format<T>::digits - 1;
  const bool subnormal = x < Format<T>::least_normal;
  const T scale = T(typename Format<T>::Bits(1) << fraction);
  const LogParts<T> p = log_parts(subnormal ? x * scale : x);
  T y = log_sum(subnormal ? p.n - T(fraction) : p.n, p.f);
  y = x < infinity<T>() ? y : x;
  y = x < T(0) ? nan<T>() : y;
  return x == T(0) ? -infinity<T>() : y;
}

/// log x for normal x > 0.
template <class T>
BG_SCALAR T log_near(T x) {
  const LogParts<T> p = log_parts(x);
  return log_sum(p.n, p.f);
}

/// log(1 + x) for finite x > -1, the sign of 0 aside: u = 1 + x rounded, whose error is added to f.
template <class T>
BG_SCALAR T log1p_inside(T x) {
  const T u = T(1) + x;
  const T rest = x < T(1) ? x - (u - T(1)) : T(1) - (u - x);
  const LogParts<T> p = log_parts(u);
  return log_sum(p.n, x < T(1) / Format<T>::least_normal ? fma(rest, p.shift, p.f) : p.f);
}
template <class T>
BG_SCALAR T log1p(T x) {
  T y = log1p_inside(x);
  y = x < infinity<T>() ? y : x;
  y = x < T(-1) ? nan<T>() : y;
  y = x == T(-1) ? -infinity<T>() : y;
  return x == T(0) ? x : y;
}

/// For -1 < x, 1 + x < 1 / least_normal.
template <class T>
BG_SCALAR T log1p_near(T x) {
  const T u = T(1) + x;
  const T rest = x < T(1) ? x - (u - T(1)) : T(1) - (u - x);
  const LogParts<T> p = log_parts(u);
  const T y = log_sum(p.n, fma(rest, p.shift, p.f));
  return x == T(0) ? x : y;
}

/// In float x + x^3 p(x^2) near 0 and 1 - 2 / (e^(2|x|) + 1) further out; in double
/// t / (t + 2) with t = e^(2|x|) - 1.
BG_SCALAR float tanh_of(float x, float e) {
  const float a = with_sign(x, 1.0f), z = x * x;
  const float p = polynomial(z, -0x1.555532p-2f, 0x1.1106f6p-3f, -0x1.b835a4p-5f, 0x1.51f8d0p-6f,
                             -0x1.750cf8p-8f);
  const float near = fma(x * z, p, x);
  const float far = 1.0f - 2.0f / (e + 1.0f);
  return with_sign(a < 0.625f ? near : far, x);
}
BG_SCALAR float tanh(float x) {
  const float a = with_sign(x, 1.0f);
  return tanh_of(x, exp(2.0f * (a > 10.0f ? 10.0f : a)));
}
/// For |x| <= 43.
BG_SCALAR float tanh_near(float x) { return tanh_of(x, exp_near(2.0f * with_sign(x, 1.0f))); }
BG_SCALAR double tanh(double x) {
  const double a = with_sign(x, 1.0);
  const double t = expm1(2.0 * (a > 24.0 ? 24.0 : a));
  return with_sign(t / (t + 2.0), x);
}

/// 1 / (1 + e^-x), from e^-|x| on both sides.
template <class T>
BG_SCALAR T sigmoid_of(T x, T e) {
  return (x < T(0) ? e : T(1)) / (T(1) + e);
}
template <class T>
BG_SCALAR T sigmoid(T x) {
  return sigmoid_of(x, exp(with_sign(x, T(-1))));
}
/// For |x| <= exp_limit.
template <class T>
BG_SCALAR T sigmoid_near(T x) {
  return sigmoid_of(x, exp_near(with_sign(x, T(-1))));
}

/// log(1 + e^x) = max(x, 0) + log(1 + e) with e = e^-|x| in [0, 1]; above 1/3 as ln 2 + log(1 + (e
/// - 1) / 2).
template <class T>
BG_SCALAR T softplus_of(T x, T e) {
  const bool above = e > T(1) / T(3);
  const T y = log_sum(above ? T(1) : T(0), above ? fma(T(0.5), e, T(-0.5)) : e);
  return (x < T(0) ? T(0) : x) + y;
}
template <class T>
BG_SCALAR T softplus(T x) {
  return softplus_of(x, exp(with_sign(x, T(-1))));
}
/// For |x| <= exp_limit.
template <class T>
BG_SCALAR T softplus_near(T x) {
  return softplus_of(x, exp_near(with_sign(x, T(-1))));
}

}  // namespace blockgrad::math
