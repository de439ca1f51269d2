#pragma once
// The functions of attention_rows.h, one source for every instruction set: the including unit's
// flags decide. Internal linkage throughout.

#include "backends/cpu/attention_rows.h"
#include "backends/cpu/reduce_lanes.h"
#include "graph/scalar_math.h"

namespace blockgrad::detail {
namespace {

using std::int64_t;

inline __attribute__((always_inline)) int64_t whole_lanes(int64_t n) {
  return (n + lane_count - 1) / lane_count * lane_count;
}

/// Keys of the block that row r sees.
template <class T>
inline __attribute__((always_inline)) int64_t seen_by(const ScoreBlock<T>& block, int64_t r) {
  const int64_t n = block.seen + r;
  return n < 0 ? 0 : n < block.width ? n : block.width;
}

/// max(a, b), or b if one of them is NaN: one instruction.
template <class V>
inline __attribute__((always_inline)) V higher(V a, V b) {
  return a > b ? a : b;
}

template <class T>
void add_mask(ScoreBlock<T>& block) {
  const T scale = block.scale;
  block.scale = 1;
  for (int64_t r = 0; r < block.rows; ++r) {
    T* const row = block.s + r * block.ld;
    const int64_t n = seen_by(block, r);
    if (block.added) {
      const T* const mask = block.added + r * block.mask_row;
      if (block.mask_column == 1) {
        for (int64_t c = 0; c < n; ++c) row[c] = row[c] * scale + mask[c];
      } else {
        for (int64_t c = 0; c < n; ++c) row[c] = row[c] * scale + mask[0];
      }
    } else {
      const unsigned char* const mask = block.allowed + r * block.mask_row;
      if (block.mask_column == 1) {
        for (int64_t c = 0; c < n; ++c)
          row[c] = mask[c] != 0 ? row[c] * scale : -math::infinity<T>();
      } else {
        for (int64_t c = 0; c < n; ++c)
          row[c] = mask[0] != 0 ? row[c] * scale : -math::infinity<T>();
      }
    }
  }
}

template <class T>
void maxima(const ScoreBlock<T>& block, T* maxima) {
  using L = Lanes<T>;
  const typename L::Vector hidden = typename L::Vector{} - math::infinity<T>();
  for (int64_t r = 0; r < block.rows; ++r) {
    const T* const row = block.s + r * block.ld;
    const int64_t n = seen_by(block, r), whole = n / lane_count * lane_count;
    typename L::Vector best[L::count];
#pragma GCC unroll 16
    for (int v = 0; v < L::count; ++v) best[v] = hidden;
    for (int64_t c = 0; c < whole; c += lane_count) {
#pragma GCC unroll 16
      for (int v = 0; v < L::count; ++v)
        best[v] = higher(best[v], L::load(row + c + v * L::width) * block.scale);
    }
    if (whole < n) {
#pragma GCC unroll 16
      for (int v = 0; v < L::count; ++v) {
        const auto x = L::load(row + whole + v * L::width) * block.scale;
        best[v] = higher(best[v], L::first(n - whole - v * L::width) ? x : hidden);
      }
    }
    const T most = L::across(best, [](auto a, auto b) { return higher(a, b); });
    maxima[r] = higher(maxima[r], most);
  }
}

/// to = exp(s * scale - x) for 16 elements.
template <class T>
inline __attribute__((always_inline)) void powers_of_lanes(T* to, const T* s, T scale, T x) {
#if defined(__AVX512F__)
  // As math::exp, whose two factors for the power of two are one instruction here.
  T factors[lane_count], exponents[lane_count];
  for (int64_t l = 0; l < lane_count; ++l) {
    const T y = s[l] * scale - x;
    const bool vanishes = y < math::exp_low<T>();
    const T inside = y > math::exp_high<T>() ? math::exp_high<T>() : y;
    const math::ExpParts<T> p = math::exp_parts(vanishes ? T(0) : inside);
    const T factor = math::exp_power(p);
    factors[l] = vanishes ? T(0) : factor;
    exponents[l] = math::from_bits(p.n) - math::Format<T>::rounder;
  }
  if constexpr (sizeof(T) == 4) {
    _mm512_storeu_ps(to, _mm512_scalef_ps(_mm512_loadu_ps(factors), _mm512_loadu_ps(exponents)));
  } else {
    for (int64_t l = 0; l < lane_count; l += 8)
      _mm512_storeu_pd(
          to + l, _mm512_scalef_pd(_mm512_loadu_pd(factors + l), _mm512_loadu_pd(exponents + l)));
  }
#else
  for (int64_t l = 0; l < lane_count; ++l) to[l] = math::exp(s[l] * scale - x);
#endif
}

template <class T>
void powers(const ScoreBlock<T>& block, const T* x, T* sums) {
  using L = Lanes<T>;
  const typename L::Vector nothing{};
  for (int64_t r = 0; r < block.rows; ++r) {
    T* const row = block.s + r * block.ld;
    const T less = x[r] == -math::infinity<T>() ? T(0) : x[r];
    const int64_t n = seen_by(block, r), whole = n / lane_count * lane_count;
    typename L::Vector sum[L::count];
#pragma GCC unroll 16
    for (int v = 0; v < L::count; ++v) sum[v] = nothing;
    for (int64_t c = 0; c < whole; c += lane_count) {
      powers_of_lanes(row + c, row + c, block.scale, less);
#pragma GCC unroll 16
      for (int v = 0; v < L::count; ++v) sum[v] += L::load(row + c + v * L::width);
    }
    int64_t c = whole;
    if (c < n) {
      powers_of_lanes(row + c, row + c, block.scale, less);
#pragma GCC unroll 16
      for (int v = 0; v < L::count; ++v) {
        T* const at = row + c + v * L::width;
        const typename L::Vector y = L::first(n - c - v * L::width) ? L::load(at) : nothing;
        __builtin_memcpy(at, &y, sizeof y);
        sum[v] += y;
      }
      c += lane_count;
    }
    for (; c < block.ld; c += L::width) __builtin_memcpy(row + c, &nothing, sizeof nothing);
    if (sums) sums[r] = L::across(sum, [](auto a, auto b) { return a + b; });
  }
}

template <class T>
void slopes(const ScoreBlock<T>& block, T* dp, const T* delta, T scale) {
  using L = Lanes<T>;
  const typename L::Vector nothing{};
  for (int64_t r = 0; r < block.rows; ++r) {
    T* const to = dp + r * block.ld;
    const T* const p = block.s + r * block.ld;
    const int64_t n = seen_by(block, r);
    int64_t c = 0;
    for (; c < n; c += L::width) {
      const typename L::Vector y = L::load(p + c) * (L::load(to + c) - delta[r]) * scale;
      const typename L::Vector own = c + L::width <= n ? y : L::first(n - c) ? y : nothing;
      __builtin_memcpy(to + c, &own, sizeof own);
    }
    for (; c < block.ld; c += L::width) __builtin_memcpy(to + c, &nothing, sizeof nothing);
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
  return {add_mask<T>, maxima<T>, powers<T>, slopes<T>, rescale<T>};
}

constexpr AttentionTable attention_kernels() {
  return {attention_rows<float>(), attention_rows<double>()};
}

}  // namespace
}  // namespace blockgrad::detail
