#pragma once
// Vectors of one instruction set, as much as products and convolutions need. One struct per
// instruction set and element type with the same members; which ones exist depends on the flags of
// the including translation unit. Everything has internal linkage, so that no unit built for a
// newer processor can lend its code to another one.
//
//   lanes             elements of one Reg
//   first(n)          Mask of the lanes 0 .. n-1, 1 <= n <= lanes
//   load(p, mask)     lanes outside the mask are zero and their memory is not touched
//   store(p, x, mask) memory outside the mask is not touched
//   fma(a, b, c)      a * b + c with one rounding
//   transpose(r)      r[i][j] <-> r[j][i] for a square of lanes x lanes elements
//   load_transposed   r[j][i] = p[i * ld + j]
//   Square            the type whose transpose() the copies use
//   spread<i>(x)      lane i of x in all lanes; where can_spread

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include <cstdint>

namespace blockgrad::detail {
namespace {

/// One element at a time. Without a fused instruction this calls the math library: same bits, slow.
template <class T>
struct Portable {
  using Scalar = T;
  using Reg = T;
  using Mask = int;
  using Square = Portable;
  static constexpr int lanes = 1;
  static constexpr bool can_spread = false;

  static Reg zero() { return 0; }
  static Reg load(const T* p) { return *p; }
  static Reg load(const T* p, Mask) { return *p; }
  static void store(T* p, Reg x) { *p = x; }
  static void store(T* p, Reg x, Mask) { *p = x; }
  static Reg broadcast(const T* p) { return *p; }
  static Reg fma(Reg a, Reg b, Reg c) {
    if constexpr (sizeof(T) == sizeof(float)) {
      return __builtin_fmaf(a, b, c);
    } else {
      return __builtin_fma(a, b, c);
    }
  }
  static Mask first(int n) { return n; }
  static void transpose(Reg (&)[1]) {}
  static void load_transposed(Reg (&r)[1], const T* p, std::int64_t) { r[0] = *p; }
};

#if defined(__AVX2__) && defined(__FMA__)

struct Avx2Mask {
  __m256i bits;
  int count;
};

struct Avx2F32 {
  using Scalar = float;
  using Reg = __m256;
  using Mask = Avx2Mask;
  using Square = Avx2F32;
  static constexpr int lanes = 8;
  static constexpr bool can_spread = false;

  static Reg zero() { return _mm256_setzero_ps(); }
  static Reg load(const float* p) { return _mm256_loadu_ps(p); }
  static Reg load(const float* p, Mask mask) { return _mm256_maskload_ps(p, mask.bits); }
  static void store(float* p, Reg x) { _mm256_storeu_ps(p, x); }
  /// In pieces of 4, 2 and 1: a masked store takes some twenty steps on several processors.
  static void store(float* p, Reg x, Mask mask) {
    __m128 rest = _mm256_castps256_ps128(x);
    if (mask.count == 8) return store(p, x);
    if (mask.count & 4) {
      _mm_storeu_ps(p, rest);
      p += 4;
      rest = _mm256_extractf128_ps(x, 1);
    }
    if (mask.count & 2) {
      _mm_storel_pi(reinterpret_cast<__m64*>(p), rest);
      p += 2;
      rest = _mm_movehl_ps(rest, rest);
    }
    if (mask.count & 1) _mm_store_ss(p, rest);
  }
  static Reg broadcast(const float* p) { return _mm256_broadcast_ss(p); }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm256_fmadd_ps(a, b, c); }
  static Mask first(int n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return {_mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane), n};
  }
  static void transpose(Reg (&r)[8]) {
    Reg pair[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      pair[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
      pair[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    Reg quad[8];
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
#pragma GCC unroll 2
      for (int j = 0; j < 2; ++j) {
        const Reg x = pair[4 * i + j];
        const Reg y = pair[4 * i + j + 2];
        quad[4 * i + 2 * j] = _mm256_shuffle_ps(x, y, 0x44);
        quad[4 * i + 2 * j + 1] = _mm256_shuffle_ps(x, y, 0xee);
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      r[i] = _mm256_permute2f128_ps(quad[i], quad[i + 4], 0x20);
      r[i + 4] = _mm256_permute2f128_ps(quad[i], quad[i + 4], 0x31);
    }
  }
  /// The halves meet while they are loaded, which spares a third of the shuffles.
  static void load_transposed(Reg (&r)[8], const float* p, std::int64_t ld) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      Reg row[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const float* const q = p + i * ld + 4 * half;
        row[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(q)),
                                      _mm_loadu_ps(q + 4 * ld), 1);
      }
      const Reg low_even = _mm256_unpacklo_ps(row[0], row[1]);
      const Reg low_odd = _mm256_unpacklo_ps(row[2], row[3]);
      const Reg high_even = _mm256_unpackhi_ps(row[0], row[1]);
      const Reg high_odd = _mm256_unpackhi_ps(row[2], row[3]);
      r[4 * half] = _mm256_shuffle_ps(low_even, low_odd, 0x44);
      r[4 * half + 1] = _mm256_shuffle_ps(low_even, low_odd, 0xee);
      r[4 * half + 2] = _mm256_shuffle_ps(high_even, high_odd, 0x44);
      r[4 * half + 3] = _mm256_shuffle_ps(high_even, high_odd, 0xee);
    }
  }
};

struct Avx2F64 {
  using Scalar = double;
  using Reg = __m256d;
  using Mask = Avx2Mask;
  using Square = Avx2F64;
  static constexpr int lanes = 4;
  static constexpr bool can_spread = false;

  static Reg zero() { return _mm256_setzero_pd(); }
  static Reg load(const double* p) { return _mm256_loadu_pd(p); }
  static Reg load(const double* p, Mask mask) { return _mm256_maskload_pd(p, mask.bits); }
  static void store(double* p, Reg x) { _mm256_storeu_pd(p, x); }
  static void store(double* p, Reg x, Mask mask) {
    __m128d rest = _mm256_castpd256_pd128(x);
    if (mask.count == 4) return store(p, x);
    if (mask.count & 2) {
      _mm_storeu_pd(p, rest);
      p += 2;
      rest = _mm256_extractf128_pd(x, 1);
    }
    if (mask.count & 1) _mm_store_sd(p, rest);
  }
  static Reg broadcast(const double* p) { return _mm256_broadcast_sd(p); }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm256_fmadd_pd(a, b, c); }
  static Mask first(int n) {
    const __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3);
    return {_mm256_cmpgt_epi64(_mm256_set1_epi64x(n), lane), n};
  }
  static void transpose(Reg (&r)[4]) {
    const Reg even_low = _mm256_unpacklo_pd(r[0], r[1]);
    const Reg odd_low = _mm256_unpackhi_pd(r[0], r[1]);
    const Reg even_high = _mm256_unpacklo_pd(r[2], r[3]);
    const Reg odd_high = _mm256_unpackhi_pd(r[2], r[3]);
    r[0] = _mm256_permute2f128_pd(even_low, even_high, 0x20);
    r[1] = _mm256_permute2f128_pd(odd_low, odd_high, 0x20);
    r[2] = _mm256_permute2f128_pd(even_low, even_high, 0x31);
    r[3] = _mm256_permute2f128_pd(odd_low, odd_high, 0x31);
  }
  static void load_transposed(Reg (&r)[4], const double* p, std::int64_t ld) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const double* const q = p + 2 * half;
      const Reg even = _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(q)),
                                            _mm_loadu_pd(q + 2 * ld), 1);
      const Reg odd = _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(q + ld)),
                                           _mm_loadu_pd(q + 3 * ld), 1);
      r[2 * half] = _mm256_unpacklo_pd(even, odd);
      r[2 * half + 1] = _mm256_unpackhi_pd(even, odd);
    }
  }
};

#endif

#if defined(__AVX512F__) && defined(__AVX2__) && defined(__FMA__)

struct Avx512F32 {
  using Scalar = float;
  using Reg = __m512;
  using Mask = __mmask16;
  using Square = Avx512F32;
  static constexpr int lanes = 16;
  static constexpr bool can_spread = true;

  static Reg zero() { return _mm512_setzero_ps(); }
  static Reg load(const float* p) { return _mm512_loadu_ps(p); }
  static Reg load(const float* p, Mask mask) { return _mm512_maskz_loadu_ps(mask, p); }
  static void store(float* p, Reg x) { _mm512_storeu_ps(p, x); }
  static void store(float* p, Reg x, Mask mask) { _mm512_mask_storeu_ps(p, mask, x); }
  static Reg broadcast(const float* p) { return _mm512_set1_ps(*p); }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }
  static Mask first(int n) { return static_cast<Mask>((1U << n) - 1U); }
  /// Quarters of the rows r, r + 4, r + 8 and r + 12 are put side by side, then 4 x 4 elements turn
  /// in each.
  static void turn_quarters(Reg& r0, Reg& r1, Reg& r2, Reg& r3) {
    const Reg low01 = _mm512_unpacklo_ps(r0, r1), high01 = _mm512_unpackhi_ps(r0, r1);
    const Reg low23 = _mm512_unpacklo_ps(r2, r3), high23 = _mm512_unpackhi_ps(r2, r3);
    r0 = _mm512_shuffle_ps(low01, low23, 0x44);
    r1 = _mm512_shuffle_ps(low01, low23, 0xee);
    r2 = _mm512_shuffle_ps(high01, high23, 0x44);
    r3 = _mm512_shuffle_ps(high01, high23, 0xee);
  }
  static void transpose(Reg (&r)[16]) {
    Reg side[16];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const Reg first = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x44);
      const Reg second = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xee);
      const Reg third = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x44);
      const Reg fourth = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xee);
      side[i] = _mm512_shuffle_f32x4(first, third, 0x88);
      side[4 + i] = _mm512_shuffle_f32x4(first, third, 0xdd);
      side[8 + i] = _mm512_shuffle_f32x4(second, fourth, 0x88);
      side[12 + i] = _mm512_shuffle_f32x4(second, fourth, 0xdd);
    }
#pragma GCC unroll 4
    for (int q = 0; q < 16; q += 4) {
      turn_quarters(side[q], side[q + 1], side[q + 2], side[q + 3]);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) r[q + i] = side[q + i];
    }
  }
  static void load_transposed(Reg (&r)[16], const float* p, std::int64_t ld) {
#pragma GCC unroll 4
    for (int q = 0; q < 16; q += 4) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const float* const from = p + i * ld + q;
        Reg x = _mm512_castps128_ps512(_mm_loadu_ps(from));
        x = _mm512_insertf32x4(x, _mm_loadu_ps(from + 4 * ld), 1);
        x = _mm512_insertf32x4(x, _mm_loadu_ps(from + 8 * ld), 2);
        r[q + i] = _mm512_insertf32x4(x, _mm_loadu_ps(from + 12 * ld), 3);
      }
      turn_quarters(r[q], r[q + 1], r[q + 2], r[q + 3]);
    }
  }
  template <int i>
  static Reg spread(Reg x) {
    return _mm512_permute_ps(_mm512_shuffle_f32x4(x, x, i / 4 * 0x55), i % 4 * 0x55);
  }
};

struct Avx512F64 {
  using Scalar = double;
  using Reg = __m512d;
  using Mask = __mmask8;
  using Square = Avx2F64;
  static constexpr int lanes = 8;
  static constexpr bool can_spread = false;

  static Reg zero() { return _mm512_setzero_pd(); }
  static Reg load(const double* p) { return _mm512_loadu_pd(p); }
  static Reg load(const double* p, Mask mask) { return _mm512_maskz_loadu_pd(mask, p); }
  static void store(double* p, Reg x) { _mm512_storeu_pd(p, x); }
  static void store(double* p, Reg x, Mask mask) { _mm512_mask_storeu_pd(p, mask, x); }
  static Reg broadcast(const double* p) { return _mm512_set1_pd(*p); }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_pd(a, b, c); }
  static Mask first(int n) { return static_cast<Mask>((1U << n) - 1U); }
};

#endif

#if defined(__aarch64__)

struct NeonF32 {
  using Scalar = float;
  using Reg = float32x4_t;
  using Mask = int;  // the number of lanes: NEON has no masked access
  using Square = NeonF32;
  static constexpr int lanes = 4;
  static constexpr bool can_spread = false;

  static Reg zero() { return vdupq_n_f32(0); }
  static Reg load(const float* p) { return vld1q_f32(p); }
  static Reg load(const float* p, Mask n) {
    Reg x = vsetq_lane_f32(p[0], zero(), 0);
    if (n > 1) x = vsetq_lane_f32(p[1], x, 1);
    if (n > 2) x = vsetq_lane_f32(p[2], x, 2);
    if (n > 3) x = vsetq_lane_f32(p[3], x, 3);
    return x;
  }
  static void store(float* p, Reg x) { vst1q_f32(p, x); }
  static void store(float* p, Reg x, Mask n) {
    vst1q_lane_f32(p, x, 0);
    if (n > 1) vst1q_lane_f32(p + 1, x, 1);
    if (n > 2) vst1q_lane_f32(p + 2, x, 2);
    if (n > 3) vst1q_lane_f32(p + 3, x, 3);
  }
  static Reg broadcast(const float* p) { return vld1q_dup_f32(p); }
  static Reg fma(Reg a, Reg b, Reg c) { return vfmaq_f32(c, a, b); }
  static Mask first(int n) { return n; }
  static void transpose(Reg (&r)[4]) {
    const float32x4x2_t low = vtrnq_f32(r[0], r[1]);
    const float32x4x2_t high = vtrnq_f32(r[2], r[3]);
    r[0] = vcombine_f32(vget_low_f32(low.val[0]), vget_low_f32(high.val[0]));
    r[1] = vcombine_f32(vget_low_f32(low.val[1]), vget_low_f32(high.val[1]));
    r[2] = vcombine_f32(vget_high_f32(low.val[0]), vget_high_f32(high.val[0]));
    r[3] = vcombine_f32(vget_high_f32(low.val[1]), vget_high_f32(high.val[1]));
  }
  static void load_transposed(Reg (&r)[4], const float* p, std::int64_t ld) {
    for (int i = 0; i < 4; ++i) r[i] = load(p + i * ld);
    transpose(r);
  }
};

struct NeonF64 {
  using Scalar = double;
  using Reg = float64x2_t;
  using Mask = int;
  using Square = NeonF64;
  static constexpr int lanes = 2;
  static constexpr bool can_spread = false;

  static Reg zero() { return vdupq_n_f64(0); }
  static Reg load(const double* p) { return vld1q_f64(p); }
  static Reg load(const double* p, Mask n) {
    const Reg x = vsetq_lane_f64(p[0], zero(), 0);
    return n > 1 ? vsetq_lane_f64(p[1], x, 1) : x;
  }
  static void store(double* p, Reg x) { vst1q_f64(p, x); }
  static void store(double* p, Reg x, Mask n) {
    vst1q_lane_f64(p, x, 0);
    if (n > 1) vst1q_lane_f64(p + 1, x, 1);
  }
  static Reg broadcast(const double* p) { return vld1q_dup_f64(p); }
  static Reg fma(Reg a, Reg b, Reg c) { return vfmaq_f64(c, a, b); }
  static Mask first(int n) { return n; }
  static void transpose(Reg (&r)[2]) {
    const Reg first_column = vtrn1q_f64(r[0], r[1]);
    r[1] = vtrn2q_f64(r[0], r[1]);
    r[0] = first_column;
  }
  static void load_transposed(Reg (&r)[2], const double* p, std::int64_t ld) {
    r[0] = load(p);
    r[1] = load(p + ld);
    transpose(r);
  }
};

#endif

}  // namespace
}  // namespace blockgrad::detail
