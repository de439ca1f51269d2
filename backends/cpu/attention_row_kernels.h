#pragma once
// The functions of attention_rows.h, one source for every instruction set: the including unit's
// flags decide. Internal linkage throughout.

#include "backends/cpu/attention_rows.h"

namespace blockgrad::detail {
namespace {

using std::int64_t;

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif

template <class T>
struct Vec {
  typedef T Reg __attribute__((vector_size(vector_bytes)));
  static constexpr int64_t width = vector_bytes / int64_t{sizeof(T)};

  static inline __attribute__((always_inline)) Reg load(const T* p) {
    Reg x;
    __builtin_memcpy(&x, p, sizeof x);
    return x;
  }
  static inline __attribute__((always_inline)) void store(T* p, Reg x) {
    __builtin_memcpy(p, &x, sizeof x);
  }
};

constexpr int64_t lane_count = 16;

template <class T>
constexpr T minus_infinity() {
  return static_cast<T>(-__builtin_inf());
}

inline __attribute__((always_inline)) int64_t whole_lanes(int64_t n) {
  return (n + lane_count - 1) / lane_count * lane_count;
}

/// max(a, b), NaN if one of them is.
template <class V>
inline __attribute__((always_inline)) V higher(V a, V b) {
  const V y = a > b ? a : b;
  return a == a ? y : a;
}

template <class T>
T greatest(const T* row, int64_t n, T from) {
  using V = Vec<T>;
  constexpr int count = lane_count / V::width;
  typename V::Reg best[count];
#pragma GCC unroll 16
  for (int v = 0; v < count; ++v) best[v] = V::load(row + v * V::width);
  for (int64_t c = lane_count; c < n; c += lane_count) {
#pragma GCC unroll 16
    for (int v = 0; v < count; ++v) best[v] = higher(best[v], V::load(row + c + v * V::width));
  }
  T lanes[lane_count];
#pragma GCC unroll 16
  for (int v = 0; v < count; ++v) V::store(lanes + v * V::width, best[v]);
  for (int64_t half = lane_count / 2; half > 0; half /= 2) {
    for (int64_t l = 0; l < half; ++l) lanes[l] = higher(lanes[l], lanes[l + half]);
  }
  return higher(from, lanes[0]);
}

template <class T>
void apply_mask(const ScoreBlock<T>& block, int64_t r, T* row, int64_t n) {
  if (block.added) {
    const T* mask = block.added + r * block.mask_row;
    if (block.mask_column == 1) {
      for (int64_t c = 0; c < n; ++c) row[c] = row[c] + mask[c];
    } else {
      for (int64_t c = 0; c < n; ++c) row[c] = row[c] + mask[0];
    }
  } else if (block.allowed) {
    const unsigned char* mask = block.allowed + r * block.mask_row;
    if (block.mask_column == 1) {
      for (int64_t c = 0; c < n; ++c) row[c] = mask[c] != 0 ? row[c] : minus_infinity<T>();
    } else if (mask[0] == 0) {
      for (int64_t c = 0; c < n; ++c) row[c] = minus_infinity<T>();
    }
  }
}

/// 0, 1, 2, ...
template <class T>
inline __attribute__((always_inline)) typename Vec<T>::Reg count_up() {
  typename Vec<T>::Reg x;
#pragma GCC unroll 16
  for (int64_t i = 0; i < Vec<T>::width; ++i) x[i] = static_cast<T>(i);
  return x;
}

template <class T>
void scores(const ScoreBlock<T>& block, T* maxima) {
  using V = Vec<T>;
  const typename V::Reg hidden = typename V::Reg{} + minus_infinity<T>();
  const typename V::Reg numbers = count_up<T>();
  for (int64_t r = 0; r < block.rows; ++r) {
    T* const row = block.s + r * block.ld;
    int64_t n = block.seen + r;
    n = n < 0 ? 0 : n < block.width ? n : block.width;
    if (block.added || block.allowed) {
      for (int64_t c = 0; c < n; ++c) row[c] = row[c] * block.scale;
      apply_mask(block, r, row, n);
      for (int64_t c = n; c < block.ld; ++c) row[c] = minus_infinity<T>();
    } else {
      int64_t c = 0;
      for (; c + V::width <= n; c += V::width) V::store(row + c, V::load(row + c) * block.scale);
      if (c < n) {
        const typename V::Reg x = V::load(row + c) * block.scale;
        V::store(row + c, numbers < static_cast<T>(n - c) ? x : hidden);
        c += V::width;
      }
      for (; c < block.ld; c += V::width) V::store(row + c, hidden);
    }
    if (maxima && n > 0) maxima[r] = greatest(row, n, maxima[r]);
  }
}

template <class T>
void shift(T* s, int64_t rows, int64_t ld, const T* x) {
  using V = Vec<T>;
  for (int64_t r = 0; r < rows; ++r) {
    T* const row = s + r * ld;
    if (x[r] == minus_infinity<T>()) continue;
    for (int64_t c = 0; c < ld; c += V::width) V::store(row + c, V::load(row + c) - x[r]);
  }
}

template <class T>
void slopes(T* dp, const T* p, int64_t rows, int64_t width, int64_t ld, const T* delta, T scale) {
  using V = Vec<T>;
  for (int64_t r = 0; r < rows; ++r) {
    T* const to = dp + r * ld;
    const T* const from = p + r * ld;
    for (int64_t c = 0; c < whole_lanes(width); c += V::width)
      V::store(to + c, V::load(from + c) * (V::load(to + c) - delta[r]) * scale);
  }
}

template <class T>
void rescale(T* y, int64_t rows, int64_t columns, int64_t ld, const T* factor) {
  for (int64_t r = 0; r < rows; ++r) {
    T* const row = y + r * ld;
    const T x = factor[r];
    for (int64_t c = 0; c < columns; ++c) row[c] = row[c] * x;
  }
}

template <class T>
constexpr AttentionRows<T> attention_rows() {
  return {scores<T>, shift<T>, slopes<T>, rescale<T>};
}

constexpr AttentionTable attention_kernels() {
  return {attention_rows<float>(), attention_rows<double>()};
}

}  // namespace
}  // namespace blockgrad::detail
