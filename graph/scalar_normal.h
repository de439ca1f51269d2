#pragma once
// The normal distribution's share below x, also where it is small, far below 0, to a few ulp; and
// x times that.
// Polynomials as in scalar_exp.h.

#include "graph/scalar_exp.h"

namespace blockgrad::math {

/// P(-a) = e^(-a^2 / 2) (q0 + u q(u)) / (a + c), u = (a - c) / (a + c), for a from 0 (double: from
/// 1) to `end`, where it is 0. The center c is where q0 is nearly a number of the format.
template <class T>
struct NormalFit;
template <>
struct NormalFit<float> {
  static constexpr float c = 0x1.7d68p+1f, q0 = 0x1.74e86ep-1f, end = 14.5f;
};
template <>
struct NormalFit<double> {
  static constexpr double c = 0x1.f540p+1, q0 = 0x1.81e47c5eb597dp-1, end = 38.7;
};
BG_SCALAR float normal_fit(float u) {
  return polynomial(u, -0x1.036c84p-1f, 0x1.cf65f4p-3f, -0x1.6db3b6p-5f, -0x1.6dd936p-7f,
                    0x1.b9dcd6p-8f, 0x1.367310p-10f, -0x1.06332cp-10f, -0x1.200e58p-12f,
                    0x1.06cfe0p-13f, 0x1.e40212p-15f);
}
BG_SCALAR double normal_fit(double u) {
  return polynomial(
      u, -0x1.34014af36c3aap-1, 0x1.8108056ddce84p-2, -0x1.6618f86748498p-3, 0x1.ad99a901dcf45p-5,
      -0x1.16865594b6f11p-8, -0x1.011a7d8548d72p-8, 0x1.5a513d783793fp-10, 0x1.2342ac8f5b626p-12,
      -0x1.b28edae9bcd96p-13, -0x1.e89ebff4f69d4p-16, 0x1.10cffcd5ceedcp-15, 0x1.85f0dff3619a0p-18,
      -0x1.5fdd768e01babp-18, -0x1.af234bcb29420p-20, 0x1.a74cd91778a37p-21, 0x1.deecb53b43105p-22,
      -0x1.a7a5a9d45b633p-24, -0x1.b0e636c0b482cp-24, 0x1.b76ba971aa49bp-27, 0x1.541eb9cfb8e5ep-27);
}

/// y 2^n, also where that is subnormal: of the two factors only the last one rounds there.
template <class T>
BG_SCALAR T scaled_down(T y, typename Format<T>::Bits n) {
  constexpr typename Format<T>::Bits lift = Format<T>::digits == 24 ? 64 : 512;
  return y * power_of_two<T>(n + lift) * T(Format<T>::digits == 24 ? 0x1p-64 : 0x1p-512);
}

/// P(-a) = y 2^n, e^(-a^2 / 2) = power 2^n.
template <class T>
struct NormalTail {
  T y, power;
  typename Format<T>::Bits n;
};

/// For a >= 0. What roundings leave over is kept: of a^2, which e^ would enlarge, of 1 / (a + c),
/// of the sum and of the product with it.
template <class T>
BG_SCALAR NormalTail<T> normal_tail_of(T a) {
  constexpr T c = NormalFit<T>::c, q0 = NormalFit<T>::q0;
  const T half = T(-0.5) * a, x = a * half, x_rest = fma(a, half, -x);
  const T t = a + c, b = t - a, t_rest = (a - (t - b)) + (c - b);
  const T r = T(1) / t, e = fma(-r, t_rest, fma(-r, t, T(1)));  // 1 / (a + c) = r (1 + e)
  const T u0 = (a - c) * r, u = fma(u0, e, u0);
  const T slope = normal_fit(u), q = fma(u, slope, q0), q_rest = fma(u, slope, q0 - q);
  const T y = q * r, y_rest = fma(y, e, fma(q_rest, r, fma(q, r, -y)));
  const ExpParts<T> p = exp_parts(x, x_rest);
  const T power = exp_power(p);
  return {fma(y, power, y_rest * power), power, p.n};
}

/// P(-|x|).
template <class T>
BG_SCALAR T normal_tail(T x) {
  constexpr T end = NormalFit<T>::end;
  const T size = with_sign(x, T(1));
  const NormalTail<T> tail = normal_tail_of(size > end ? end : size);  // NaN stays
  return scaled_down(tail.y, tail.n);
}

/// P(x) = (1 + erf(x / sqrt(2))) / 2; in double near 0 as 1/2 + x p(x^2).
BG_SCALAR float normal_cdf(float x) {
  const float tail = normal_tail(x);
  return x < 0.0f ? tail : 1.0f - tail;
}
/// For |x| <= 12, where the tail is normal: n goes straight into the exponent.
BG_SCALAR float normal_cdf_near(float x) {
  const NormalTail<float> p = normal_tail_of(with_sign(x, 1.0f));
  const float tail = from_bits(bits(p.y) + (p.n << (Format<float>::digits - 1)));
  return x < 0.0f ? tail : 1.0f - tail;
}
BG_SCALAR double normal_cdf(double x) {
  const double near =
      fma(x,
          polynomial(x * x, 0x1.9884533d43651p-2, -0x1.1058377e2cf87p-4, 0x1.46d0429772523p-7,
                     -0x1.37403f6f77b7dp-10, 0x1.e42b0f22561a8p-14, -0x1.3ce93f1f51265p-17,
                     0x1.65975edc12101p-21, -0x1.63ddd672e1fa3p-25, 0x1.5fec279384284p-29,
                     -0x1.a96d44c2bc537p-32, 0x1.7c09433ab85d8p-33, -0x1.06d1e82676738p-34,
                     0x1.483ffae624082p-37),
          0.5);
  const double tail = normal_tail(x);
  const double far = x < 0.0 ? tail : 1.0 - tail;
  return with_sign(x, 1.0) >= 1.0 ? far : near;  // NaN is near
}

/// x P(x), and its slope P(x) + x p(x) with the density p(x) = e^(-x^2 / 2) / sqrt(2 pi).
struct GeluPair {
  float value, slope;
};
constexpr double normal_peak = 0.39894228040143268;

/// z 2^-64 rounded once, where that is subnormal by a sum: many processors leave their pipeline for
/// such a product, so none is made, be it only to be thrown away.
BG_SCALAR float lowered(float z) {
  constexpr float least = Format<float>::least_normal * 0x1p64f;
  const float size = with_sign(z, 1.0f);
  const float small = from_bits(bits(size + least) - bits(least));
  const u32 normal = bits(size) < bits(least) ? bits(least) : bits(size);
  return with_sign(size < least ? small : from_bits(normal) * 0x1p-64f, z);
}
/// Tail and density are 2^64 times too large at first. Beyond +-15 both times x are 0.
BG_SCALAR GeluPair gelu_pair(float x) {
  const float size = with_sign(x, 1.0f), a = size > 15.0f ? 15.0f : size;  // NaN stays
  const float q = with_sign(a, x);
  const NormalTail<float> p = normal_tail_of(a);
  const float scale = power_of_two<float>(p.n + 64);
  const float tail = p.y * scale, density = p.power * scale * static_cast<float>(normal_peak);
  const float share = fma(tail, -0x1p-64f, 1.0f);
  const GeluPair below = {lowered(q * tail), lowered(fma(q, density, tail)) + 0.0f};  // not -0
  const GeluPair above = {x * share, fma(q * 0x1p-64f, density, share)};
  return {x < 0.0f ? below.value : above.value, x < 0.0f ? below.slope : above.slope};
}
/// For |x| <= 12.
BG_SCALAR GeluPair gelu_pair_near(float x) {
  const NormalTail<float> p = normal_tail_of(with_sign(x, 1.0f));
  const u32 n = p.n << (Format<float>::digits - 1);
  const float tail = from_bits(bits(p.y) + n);
  const float share = x < 0.0f ? tail : 1.0f - tail;
  const float density = from_bits(bits(p.power) + n) * static_cast<float>(normal_peak);
  return {x * share, fma(x, density, share)};
}
BG_SCALAR float gelu_value(float x) { return gelu_pair(x).value; }
BG_SCALAR float gelu_slope(float x) { return gelu_pair(x).slope; }
BG_SCALAR double gelu_value(double x) { return (x < -40.0 ? -40.0 : x) * normal_cdf(x); }
BG_SCALAR double gelu_slope(double x) {
  const double q = clamped(x, -40.0, 40.0);
  return fma(q, exp(q * q * -0.5) * normal_peak, normal_cdf(x));
}

/// 2 sqrt(2 / pi) (1, 0.044715) in two parts each, and where the sigmoid below is 0 or 1.
template <class T>
struct CubicFit;
template <>
struct CubicFit<float> {
  static constexpr float linear = 0x1.988454p+0f, linear_rest = -0x1.857936p-25f;
  static constexpr float cubic = 0x1.2444f2p-4f, cubic_rest = 0x1.49b16ap-29f, end = 11.0f;
};
template <>
struct CubicFit<double> {
  static constexpr double linear = 0x1.9884533d43651p+0, linear_rest = -0x1.cbc0d30ebfd15p-54;
  static constexpr double cubic = 0x1.2444f2a4d8b4bp-4, cubic_rest = -0x1.6c843a29d1c70p-61;
  static constexpr double end = 22.0;
};

/// The sigmoid of x (linear + cubic x^2), close to P(x) (Hendrycks and Gimpel 2016). The argument
/// is made in two parts: e^ would enlarge what its roundings leave over.
template <class T>
BG_SCALAR T normal_cdf_tanh(T x) {
  using Fit = CubicFit<T>;
  constexpr T linear = Fit::linear, cubic = Fit::cubic, end = Fit::end;
  const T size = with_sign(x, T(1)), a = size > end ? end : size;  // NaN stays
  const T square = a * a, square_rest = fma(a, a, -square);
  const T p = square * cubic, p_rest = fma(square, cubic, -p);
  const T k = linear + p, b = k - p, k_rest = (linear - b) + (p - (k - b));
  const T small = fma(square_rest, cubic, fma(square, T(Fit::cubic_rest), T(Fit::linear_rest)));
  const T w = a * k, w_rest = fma(a, (p_rest + k_rest) + small, fma(a, k, -w));
  const ExpParts<T> e = exp_parts(-w, -w_rest);
  return sigmoid_of(x, scaled_down(exp_power(e), e.n));
}

}  // namespace blockgrad::math
