#pragma once
// Products of a row with a matrix, written once for every instruction set.
// Included only by micro_kernel.h; internal linkage throughout (see simd.h).

#include "backends/cpu/simd.h"
#include "graph/scalar_bits.h"

#include <cstdint>

namespace blockgrad::detail {
namespace {

/// Adds the next products of V::lanes chains: a square of A, turned in registers so that its rows
/// lie in lanes. Only height rows and width columns exist unless `whole`.
template <class V, bool whole>
void add_square(typename V::Reg& sum, const typename V::Scalar* a, std::int64_t lda,
                std::int64_t height, std::int64_t width, const typename V::Scalar* x,
                std::int64_t x_step) {
  typename V::Reg square[V::lanes];
  if constexpr (whole && V::lanes >= 16) {
    // Whole lines, each once: their rows may all fall into one set of the cache.
    constexpr std::int64_t ahead = 512 / sizeof(typename V::Scalar);
#pragma GCC unroll 16
    for (int i = 0; i < V::lanes; ++i) {
      __builtin_prefetch(a + i * lda + ahead);
      square[i] = V::load(a + i * lda);
    }
    V::transpose(square);
  } else if constexpr (whole) {
    V::load_transposed(square, a, lda);
  } else {
    const auto mask = V::first(static_cast<int>(width));
#pragma GCC unroll 16
    for (int i = 0; i < V::lanes; ++i) {
      square[i] = i < height ? V::load(a + i * lda, mask) : V::zero();
    }
    V::transpose(square);
  }
#pragma GCC unroll 16
  for (int i = 0; i < V::lanes; ++i) {
    if (whole || i < width) sum = V::fma(square[i], V::broadcast(x + i * x_step), sum);
  }
}

/// Vectors of rows at a time, which hide the latency of each other's chains.
template <class V>
constexpr int dot_groups = V::lanes >= 16 ? 1 : 2;

/// Chains this short take less time one by one than squares to turn.
constexpr std::int64_t short_chain = 4;

/// See RowDots. Each group takes a whole cache line of its rows before the next one's turn: rows
/// may all fall into one cache set.
template <class Wide>
void row_dots(std::int64_t rows, std::int64_t k, const typename Wide::Scalar* a, std::int64_t lda,
              const typename Wide::Scalar* x, std::int64_t x_step, typename Wide::Scalar* y) {
  using V = typename Wide::Square;
  constexpr std::int64_t side = V::lanes;
  constexpr int groups = dot_groups<V>;
  constexpr std::int64_t line = 64 / sizeof(typename V::Scalar);
  if (k <= short_chain) {
    for (std::int64_t row = 0; row < rows; ++row) {
      typename V::Scalar sum = 0;
      for (std::int64_t p = 0; p < k; ++p) sum = math::fma(a[row * lda + p], x[p * x_step], sum);
      y[row] = sum;
    }
    return;
  }
  const std::int64_t whole_k = k - k % line;
  std::int64_t r = 0;
  for (; r + groups * side <= rows; r += groups * side) {
    const typename V::Scalar* const from = a + r * lda;
    typename V::Reg sum[groups];
#pragma GCC unroll 4
    for (int g = 0; g < groups; ++g) sum[g] = V::zero();
    for (std::int64_t p = 0; p < whole_k; p += line) {
#pragma GCC unroll 4
      for (int g = 0; g < groups; ++g) {
#pragma GCC unroll 4
        for (std::int64_t q = p; q < p + line; q += side) {
          add_square<V, true>(sum[g], from + g * side * lda + q, lda, side, side, x + q * x_step,
                              x_step);
        }
      }
    }
#pragma GCC unroll 4
    for (int g = 0; g < groups; ++g) {
      for (std::int64_t p = whole_k; p < k; p += side) {
        add_square<V, false>(sum[g], from + g * side * lda + p, lda, side,
                             k - p < side ? k - p : side, x + p * x_step, x_step);
      }
      V::store(y + r + g * side, sum[g]);
    }
  }
  for (; r < rows; r += side) {
    const std::int64_t height = rows - r < side ? rows - r : side;
    typename V::Reg sum = V::zero();
    for (std::int64_t p = 0; p < k; p += side) {
      add_square<V, false>(sum, a + r * lda + p, lda, height, k - p < side ? k - p : side,
                           x + p * x_step, x_step);
    }
    V::store(y + r, sum, V::first(static_cast<int>(height)));
  }
}

constexpr int summed_rows = 8;

/// Adds the products of `rows` elements of x to `vectors` vectors of chains, the last one cut if
/// asked.
template <class V, int rows, int vectors, bool cut>
void add_strip(const typename V::Reg (&x)[rows], const typename V::Scalar* b, std::int64_t ldb,
               typename V::Scalar* y, bool load, typename V::Mask mask) {
  typename V::Reg sum[vectors];
  const auto read = [mask](const typename V::Scalar* p, int v) {
    return cut && v == vectors - 1 ? V::load(p + v * V::lanes, mask) : V::load(p + v * V::lanes);
  };
#pragma GCC unroll 4
  for (int v = 0; v < vectors; ++v) sum[v] = load ? read(y, v) : V::zero();
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) sum[v] = V::fma(x[r], read(b + r * ldb, v), sum[v]);
  }
#pragma GCC unroll 4
  for (int v = 0; v < vectors; ++v) {
    if (cut && v == vectors - 1) {
      V::store(y + v * V::lanes, sum[v], mask);
    } else {
      V::store(y + v * V::lanes, sum[v]);
    }
  }
}

/// Adds `rows` more products to each of n chains. The elements of x stay in registers: the fewer
/// instructions there are beside the reads of b, the more of them wait for memory at a time.
template <class V, int rows>
void add_rows(std::int64_t n, const typename V::Scalar* x, std::int64_t x_step,
              const typename V::Scalar* b, std::int64_t ldb, typename V::Scalar* y, bool load) {
  constexpr std::int64_t wide = 4 * V::lanes;
  const auto whole = V::first(V::lanes);
  typename V::Reg left[rows];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) left[r] = V::broadcast(x + r * x_step);
  std::int64_t j = 0;
  for (; j + wide <= n; j += wide)
    add_strip<V, rows, 4, false>(left, b + j, ldb, y + j, load, whole);
  for (; j + V::lanes <= n; j += V::lanes)
    add_strip<V, rows, 1, false>(left, b + j, ldb, y + j, load, whole);
  if (j < n) {
    add_strip<V, rows, 1, true>(left, b + j, ldb, y + j, load, V::first(static_cast<int>(n - j)));
  }
}

/// See SumRows.
template <class V>
void sum_rows(std::int64_t n, std::int64_t k, const typename V::Scalar* x, std::int64_t x_step,
              const typename V::Scalar* b, std::int64_t ldb, typename V::Scalar* y) {
  std::int64_t p = 0;
  for (; p + summed_rows <= k; p += summed_rows)
    add_rows<V, summed_rows>(n, x + p * x_step, x_step, b + p * ldb, ldb, y, p > 0);
  for (; p < k; ++p) add_rows<V, 1>(n, x + p * x_step, x_step, b + p * ldb, ldb, y, p > 0);
}

}  // namespace
}  // namespace blockgrad::detail
