#pragma once
// sin, cos and erf. Polynomials as in scalar_exp.h.

#include "graph/scalar_exp.h"

namespace blockgrad::math {

/// sin r and cos r for |r| <= pi/4 (and a little more in float).
BG_SCALAR float sin_kernel(float r) {
  const float z = r * r;
  return fma(r * z, polynomial(z, -0x1.555544p-3f, 0x1.1106c6p-7f, -0x1.991c26p-13f), r);
}
BG_SCALAR float cos_kernel(float r) {
  const float z = r * r;
  return fma(z, fma(z, polynomial(z, 0x1.55554ap-5f, -0x1.6c0c16p-10f, 0x1.99df60p-16f), -0.5f),
             1.0f);
}
BG_SCALAR double sin_kernel(double r) {
  const double z = r * r;
  return fma(r * z,
             polynomial(z, -0x1.5555555555548p-3, 0x1.111111110f730p-7, -0x1.a01a019be921dp-13,
                        0x1.71de35552bef4p-19, -0x1.ae5e4b84969e9p-26, 0x1.5d8b55d810046p-33),
             r);
}
BG_SCALAR double cos_kernel(double r) {
  const double z = r * r;
  return fma(z,
             fma(z,
                 polynomial(z, 0x1.555555555554bp-5, -0x1.6c16c16c15013p-10, 0x1.a01a019c8ed04p-16,
                            -0x1.27e4f7f140e06p-22, 0x1.1ee9db8e175b0p-29, -0x1.8fa65e8c9990fp-37),
                 -0.5),
             1.0);
}

/// |x| = quadrant pi/2 + r; only the low two bits of `quadrant` count.
template <class T>
struct TrigParts {
  typename Format<T>::Bits quadrant;
  T r;
};

/// Up to here pi/2 in three parts is enough for every float; beyond, far_parts.
template <class T>
BG_SCALAR T trig_limit() {
  return T(Format<T>::digits == 24 ? 0x1p16 : 0x1p30);
}
BG_SCALAR TrigParts<float> near_parts(float a) {
  const float shifted = fma(a, 0x1.45f306p-1f, Format<float>::rounder);  // 2 / pi
  const float n = shifted - Format<float>::rounder;
  return {bits(shifted),
          fma(n, 0x1.ee59dap-50f, fma(n, 0x1.777a5cp-25f, fma(n, -0x1.921fb6p+0f, a)))};
}
BG_SCALAR TrigParts<double> near_parts(double a) {
  const double shifted = fma(a, 0x1.45f306dc9c883p-1, Format<double>::rounder);
  const double n = shifted - Format<double>::rounder;
  const double r = fma(n, -0x1.1a62633145c07p-54, fma(n, -0x1.921fb54442d18p+0, a));
  return {bits(shifted), fma(n, 0x1.f1976b7ed8fbcp-110, r)};
}

/// The same for any finite a >= 2^16, slowly (Payne, Hanek 1983): the integer significand of a
/// times the bits of 2/pi that reach below 4, 192 of them, in integers.
BG_SCALAR TrigParts<double> far_parts(double a) {
  constexpr u64 two_over_pi[] = {0,
                                 0xa2f9836e4e441529u,
                                 0xfc2757d1f534ddc0u,
                                 0xdb6295993c439041u,
                                 0xfe5163abdebbc561u,
                                 0xb7246e3a424dd2e0u,
                                 0x06492eea09d1921cu,
                                 0xfe1deb1cb129a73eu,
                                 0xe88235f52ebb4484u,
                                 0xe99c7026b45f7e41u,
                                 0x3991d639835339f4u,
                                 0x9c845f8bbdf9283bu,
                                 0x1ff897ffde05980fu,
                                 0xef2f118b5a0a6d1fu,
                                 0x6d367ecf27cb09b7u,
                                 0x4f463f669e5fea2du,
                                 0x7527bac7ebe5f17bu,
                                 0x3d0739f78a5292eau,
                                 0x6bfb5fb11f8d5d08u,
                                 0x56033046fc7b6babu,
                                 0xf0cfbc209af4361du};
  const u64 b = bits(a);
  const u64 significand = (b & 0x000fffffffffffffu) | 0x0010000000000000u;
  // a = significand 2^e; bit 62 + e of the table (which has 64 zeros in front) has weight 4 / (2 *
  // 2^e).
  const u64 first = (b >> 52) - (1075 - 62);
  const u64 word = first >> 6, shift = first & 63;
  u64 window[3] = {};
  for (u64 i = 0; i < 3; ++i) {
    window[i] = two_over_pi[word + i] << shift | (two_over_pi[word + i + 1] >> 1) >> (63 - shift);
  }
  const u64 middle = significand * window[1];
  const u64 low = middle + multiply_high(significand, window[2]);
  const u64 high =
      significand * window[0] + multiply_high(significand, window[1]) + (low < middle ? 1 : 0);
  // high.low = quadrant in the top two bits, then the fraction; as a signed number it is nearest to
  // 0.
  u64 fraction = high << 2 | low >> 62, rest = low << 2;
  const u64 negative = fraction >> 63;
  fraction = negative ? ~fraction : fraction;
  rest = negative ? ~rest : rest;
  const double head = static_cast<double>(fraction & ~u64{0x7ff}) * 0x1p-64;
  const double tail =
      fma(static_cast<double>(rest), 0x1p-128, static_cast<double>(fraction & 0x7ff) * 0x1p-64);
  const double product = head * 0x1.921fb54442d18p+0;
  const double error = fma(head, 0x1.921fb54442d18p+0, -product);
  const double r =
      product + fma(tail, 0x1.921fb54442d18p+0, fma(head, 0x1.1a62633145c07p-54, error));
  return {(high >> 62) + negative, negative ? -r : r};
}

/// sin for `turn` 0 and cos for 1: the kernel and its sign by quadrant.
template <class T>
BG_SCALAR T by_quadrant(TrigParts<T> p, typename Format<T>::Bits turn) {
  const auto quadrant = p.quadrant + turn;
  const T y = (quadrant & 1) != 0 ? cos_kernel(p.r) : sin_kernel(p.r);
  return from_bits(bits(y) ^ ((quadrant & 2) << (sizeof(T) * 8 - 2)));
}

/// True where sin_near and cos_near do not serve: finite and beyond trig_limit.
template <class T>
BG_SCALAR bool is_far(T x) {
  const T a = with_sign(x, T(1));
  const bool beyond = a > trig_limit<T>(), finite = a < infinity<T>();
  return beyond & finite;
}
/// sin and cos up to trig_limit; NaN for infinities and NaN. Without branches.
template <class T>
BG_SCALAR T sin_near(T x) {
  const T y = by_quadrant(near_parts(with_sign(x, T(1))), 0);
  return from_bits(bits(y) ^ (bits(x) & Format<T>::sign));
}
template <class T>
BG_SCALAR T cos_near(T x) {
  return by_quadrant(near_parts(with_sign(x, T(1))), 1);
}

template <class T>
BG_SCALAR T sin(T x) {
  if (!is_far(x)) return sin_near(x);
  const double y = by_quadrant(far_parts(with_sign(static_cast<double>(x), 1.0)), 0);
  return static_cast<T>(x < T(0) ? -y : y);
}
template <class T>
BG_SCALAR T cos(T x) {
  if (!is_far(x)) return cos_near(x);
  return static_cast<T>(by_quadrant(far_parts(with_sign(static_cast<double>(x), 1.0)), 1));
}

/// Near 0 x + x p(x^2); further out 1 - e^-g(|x|), g = -log(erfc), fitted with weight erfc.
BG_SCALAR float erf(float x) {
  const float a = with_sign(x, 1.0f), z = x * x;
  const float near = fma(x,
                         polynomial(z, 0x1.06eba6p-3f, -0x1.8126e6p-2f, 0x1.ce1a4cp-4f,
                                    -0x1.b687ecp-6f, 0x1.4721d8p-8f, -0x1.399e76p-11f),
                         x);
  const u32 most = bits(3.95f), size = bits(a);  // as integers: one instruction
  const float g = polynomial(from_bits(size < most ? size : most), -0x1.70d6f4p-13f, 0x1.212846p+0f,
                             0x1.444478p-1f, 0x1.bb920ap-4f, -0x1.9bb3bep-6f, 0x1.11946ap-8f,
                             -0x1.c852eep-12f, 0x1.62fbe6p-16f);
  const ExpParts<float> p = exp_parts(-g);
  const float far = fma(-power_of_two<float>(p.n), exp_power(p), 1.0f);
  return a >= 0.92f ? with_sign(far, x) : near;  // NaN is near
}
BG_SCALAR double erf(double x) {
  const double a = with_sign(x, 1.0), z = x * x;
  const double near =
      fma(x,
          polynomial(z, 0x1.06eba8214db68p-3, -0x1.812746b03799dp-2, 0x1.ce2f21a03f8b2p-4,
                     -0x1.b82ce311a93c8p-6, 0x1.565bcceecc101p-8, -0x1.c02daeb3d3d2cp-11,
                     0x1.f9a29649a119dp-14, -0x1.f4c82674fe159p-17, 0x1.b96aeb3203b87p-20,
                     -0x1.5b8935dab9bd6p-23, 0x1.d3c2d3610e0a7p-27, -0x1.a1df9c4d828fdp-31),
          x);
  const double g = polynomial(
      a > 6.0 ? 6.0 : a, 0x1.13acb11a921b4p-21, 0x1.20dd1e2617b5dp+0, 0x1.45f63600433a5p-1,
      0x1.a4ab2067e194ap-4, -0x1.371965699df08p-6, -0x1.b1b3d0c16ff34p-12, 0x1.f70f820b31100p-10,
      -0x1.9554a4f410392p-11, 0x1.1e75dda38dbf8p-13, 0x1.4735ce1a3c74bp-16, -0x1.79e87f075df81p-16,
      0x1.1fc64e44dbf43p-17, -0x1.1bc3ce9155d6dp-19, 0x1.8cb3d1f83cf21p-22, -0x1.8a707cbe6aa30p-25,
      0x1.0b3a5cc45f24ap-28, -0x1.bc1c65f5be67dp-33, 0x1.5635b67a6968cp-38);
  const ExpParts<double> p = exp_parts(-g);
  const double far = fma(-power_of_two<double>(p.n), exp_power(p), 1.0);
  return a < 1.0 ? near : with_sign(far, x);
}

}  // namespace blockgrad::math
