#pragma once
// Sixteen lanes in as many registers as they take on one instruction set: loads of some elements,
// and the tree that joins lane l with l + 8, then l + 4, l + 2 and l + 1. Everything has internal
// linkage and nothing of std is called.

#include <cstdint>

#if defined(__AVX__)
#include <immintrin.h>
#endif

namespace blockgrad::detail {
namespace {

constexpr std::int64_t lane_count = 16;

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif

template <class T>
struct Lanes {
  typedef T Vector __attribute__((vector_size(vector_bytes)));
  using Mask = decltype(Vector{} != Vector{});
  static constexpr int width = vector_bytes / sizeof(T);
  static constexpr int count = lane_count / width;

  static inline __attribute__((always_inline)) Vector load(const T* p) {
    Vector x;
    __builtin_memcpy(&x, p, sizeof x);
    return x;
  }

  /// Lanes 0 .. n-1, of which there may be none or more than a register has.
  static inline __attribute__((always_inline)) Mask first(std::int64_t n) {
    Mask numbers{};
#pragma GCC unroll 16
    for (int l = 0; l < width; ++l) numbers[l] = l;
    const std::int64_t most = n < width ? n : width;
    return numbers < Mask{} + static_cast<decltype(numbers[0] + 0)>(most);
  }

  /// Elements 0 .. n-1; other lanes are zero and their memory is not touched.
  static inline __attribute__((always_inline)) Vector load(const T* p, std::int64_t n) {
#if defined(__AVX512F__)
    const unsigned bits = n <= 0 ? 0U : n >= width ? ~0U : (1U << n) - 1U;
    if constexpr (sizeof(T) == 4)
      return reinterpret_cast<Vector>(_mm512_maskz_loadu_ps(static_cast<__mmask16>(bits), p));
    else return reinterpret_cast<Vector>(_mm512_maskz_loadu_pd(static_cast<__mmask8>(bits), p));
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4)
      return reinterpret_cast<Vector>(_mm256_maskload_ps(p, reinterpret_cast<__m256i>(first(n))));
    else
      return reinterpret_cast<Vector>(_mm256_maskload_pd(p, reinterpret_cast<__m256i>(first(n))));
#else
    Vector x{};
    for (int l = 0; l < width; ++l) {
      if (l < n) x[l] = p[l];
    }
    return x;
#endif
  }

  /// Lane l + half in lane l < half.
  template <int half>
  static inline __attribute__((always_inline)) auto upper(auto v) {
    if constexpr (width == 16 && half == 8)
      return __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14,
                                     15);
    else if constexpr (width == 16 && half == 4)
      return __builtin_shufflevector(v, v, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7);
    else if constexpr (width == 16 && half == 2)
      return __builtin_shufflevector(v, v, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3);
    else if constexpr (width == 16)
      return __builtin_shufflevector(v, v, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1);
    else if constexpr (width == 8 && half == 4)
      return __builtin_shufflevector(v, v, 4, 5, 6, 7, 4, 5, 6, 7);
    else if constexpr (width == 8 && half == 2)
      return __builtin_shufflevector(v, v, 2, 3, 2, 3, 2, 3, 2, 3);
    else if constexpr (width == 8) return __builtin_shufflevector(v, v, 1, 1, 1, 1, 1, 1, 1, 1);
    else if constexpr (width == 4 && half == 2) return __builtin_shufflevector(v, v, 2, 3, 2, 3);
    else if constexpr (width == 4) return __builtin_shufflevector(v, v, 1, 1, 1, 1);
    else return __builtin_shufflevector(v, v, 1, 1);
  }

  /// All lanes joined to one, by the tree.
  template <class V, class Join>
  static inline __attribute__((always_inline)) auto across(V (&v)[count], Join join) {
#pragma GCC unroll 4
    for (int half = count / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
      for (int i = 0; i < half; ++i) v[i] = join(v[i], v[i + half]);
    }
    V x = v[0];
    if constexpr (width >= 16) x = join(x, upper<8>(x));
    if constexpr (width >= 8) x = join(x, upper<4>(x));
    if constexpr (width >= 4) x = join(x, upper<2>(x));
    x = join(x, upper<1>(x));
    return x[0];
  }
};

}  // namespace
}  // namespace blockgrad::detail
