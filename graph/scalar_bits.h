#pragma once
// The primitives under the elementwise functions. This text and that of scalar_math.h is compiled
// as host code for every instruction set and as CUDA device code, so it uses no header of the
// standard library; all functions have internal linkage, so that no unit lends its code to another
// one. NaN payloads are not part of the contract.

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define BG_SCALAR __device__ __forceinline__
#else
#define BG_SCALAR static inline __attribute__((always_inline))
#endif

namespace blockgrad::math {

using u32 = unsigned int;
using u64 = unsigned long;
static_assert(sizeof(u32) == 4 && sizeof(u64) == 8 && sizeof(long) == 8);

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
BG_SCALAR u32 bits(float x) { return __float_as_uint(x); }
BG_SCALAR u64 bits(double x) { return static_cast<u64>(__double_as_longlong(x)); }
BG_SCALAR float from_bits(u32 x) { return __uint_as_float(x); }
BG_SCALAR double from_bits(u64 x) { return __longlong_as_double(static_cast<long long>(x)); }
BG_SCALAR float fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
BG_SCALAR double fma(double a, double b, double c) { return __fma_rn(a, b, c); }
BG_SCALAR float sqrt(float x) { return __fsqrt_rn(x); }
BG_SCALAR double sqrt(double x) { return __dsqrt_rn(x); }
BG_SCALAR float floor(float x) { return ::floorf(x); }
BG_SCALAR double floor(double x) { return ::floor(x); }
BG_SCALAR float ceil(float x) { return ::ceilf(x); }
BG_SCALAR double ceil(double x) { return ::ceil(x); }
BG_SCALAR float round(float x) { return ::rintf(x); }
BG_SCALAR double round(double x) { return ::rint(x); }
BG_SCALAR u64 multiply_high(u64 a, u64 b) { return __umul64hi(a, b); }
#else
BG_SCALAR u32 bits(float x) { return __builtin_bit_cast(u32, x); }
BG_SCALAR u64 bits(double x) { return __builtin_bit_cast(u64, x); }
BG_SCALAR float from_bits(u32 x) { return __builtin_bit_cast(float, x); }
BG_SCALAR double from_bits(u64 x) { return __builtin_bit_cast(double, x); }
BG_SCALAR float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
BG_SCALAR double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
BG_SCALAR float sqrt(float x) { return __builtin_sqrtf(x); }
BG_SCALAR double sqrt(double x) { return __builtin_sqrt(x); }
BG_SCALAR float floor(float x) { return __builtin_floorf(x); }
BG_SCALAR double floor(double x) { return __builtin_floor(x); }
BG_SCALAR float ceil(float x) { return __builtin_ceilf(x); }
BG_SCALAR double ceil(double x) { return __builtin_ceil(x); }
BG_SCALAR float round(float x) {
  return __builtin_rintf(x);
}  // half to even, as the rounding mode is
BG_SCALAR double round(double x) { return __builtin_rint(x); }
BG_SCALAR u64 multiply_high(u64 a, u64 b) {
  __extension__ using u128 = unsigned __int128;
  return static_cast<u64>((static_cast<u128>(a) * b) >> 64);
}
#endif

/// What differs between the floating formats: layout, and the number whose sum with a small x has
/// the integer nearest to x (half to even) in its low bits, 1.5 * 2^(digits - 1).
template <class T>
struct Format;
template <>
struct Format<float> {
  using Bits = u32;
  static constexpr int digits = 24, bias = 127;
  static constexpr float rounder = 0x1.8p23f, least_normal = 0x1p-126f;
  static constexpr Bits sign = 0x80000000u, infinity = 0x7f800000u, nan = 0x7fc00000u;
};
template <>
struct Format<double> {
  using Bits = u64;
  static constexpr int digits = 53, bias = 1023;
  static constexpr double rounder = 0x1.8p52, least_normal = 0x1p-1022;
  static constexpr Bits sign = 0x8000000000000000u, infinity = 0x7ff0000000000000u,
                        nan = 0x7ff8000000000000u;
};

template <class T>
BG_SCALAR T infinity() {
  return from_bits(Format<T>::infinity);
}
template <class T>
BG_SCALAR T nan() {
  return from_bits(Format<T>::nan);
}

/// |x| with the sign of `sign`.
template <class T>
BG_SCALAR T with_sign(T x, T sign) {
  return from_bits((bits(x) & ~Format<T>::sign) | (bits(sign) & Format<T>::sign));
}

/// c0 + x (c1 + x (c2 + ...)).
template <class T>
BG_SCALAR T polynomial(T, T c0) {
  return c0;
}
template <class T, class... Rest>
BG_SCALAR T polynomial(T x, T c0, Rest... rest) {
  return fma(x, polynomial(x, rest...), c0);
}

}  // namespace blockgrad::math
