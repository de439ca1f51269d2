#pragma once
// The tile kernel and the packing copies, written once for every instruction set. Included only by
// the units gemm_*.cpp; internal linkage throughout (see simd.h).

#include "backends/cpu/gemm_kernels.h"
#include "backends/cpu/simd.h"

#include <cstdint>
#include <utility>

namespace blockgrad::detail {
namespace {

/// Asks for the cache lines of a tile of C. Those of large results come from far, and a tile that
/// continues sums cannot begin before it has them.
template <class V, int vectors, int rows>
void bring_near(const typename V::Scalar* c, std::int64_t ldc) {
  constexpr int step = 64 / sizeof(typename V::Scalar);
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int column = 0; column < vectors * V::lanes; column += step)
      __builtin_prefetch(c + r * ldc + column, 1);
  }
}

/// See TileKernel. Every loop over the accumulators is unrolled in full: a single one that is not
/// moves the whole array to the stack.
template <class V, LayoutA layout, bool cut, bool fetches, int vectors, int rows>
void tile(std::int64_t k, const typename V::Scalar* a, std::int64_t lda,
          const typename V::Scalar* b, std::int64_t ldb, typename V::Scalar* c, std::int64_t ldc,
          int lanes, bool load, const Ahead<typename V::Scalar>& ahead) {
  using Reg = typename V::Reg;
  if (fetches && ahead.c) bring_near<V, vectors, rows>(ahead.c, ldc);
  const typename V::Mask mask = V::first(cut ? lanes : V::lanes);
  const auto load_vector = [mask](const typename V::Scalar* p, int v) {
    return cut && v == vectors - 1 ? V::load(p + v * V::lanes, mask) : V::load(p + v * V::lanes);
  };
  Reg sum[rows][vectors];
  if (load) {
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < vectors; ++v) sum[r][v] = load_vector(c + r * ldc, v);
    }
  } else {
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < vectors; ++v) sum[r][v] = V::zero();
    }
  }
  const std::int64_t row_step = layout == LayoutA::rows ? lda : 1;
  const std::int64_t k_step = layout == LayoutA::rows ? 1 : lda;
  const auto add = [&] {
    // The shorter side of the tile stays in registers, the longer one passes through a single one.
    if constexpr (rows >= vectors) {
      Reg right[vectors];
#pragma GCC unroll 16
      for (int v = 0; v < vectors; ++v) right[v] = load_vector(b, v);
#pragma GCC unroll 16
      for (int r = 0; r < rows; ++r) {
        const Reg left = V::broadcast(a + r * row_step);
#pragma GCC unroll 16
        for (int v = 0; v < vectors; ++v) sum[r][v] = V::fma(left, right[v], sum[r][v]);
      }
    } else {
      Reg left[rows];
#pragma GCC unroll 16
      for (int r = 0; r < rows; ++r) left[r] = V::broadcast(a + r * row_step);
#pragma GCC unroll 16
      for (int v = 0; v < vectors; ++v) {
        const Reg right = load_vector(b, v);
#pragma GCC unroll 16
        for (int r = 0; r < rows; ++r) sum[r][v] = V::fma(left[r], right, sum[r][v]);
      }
    }
    a += k_step;
    b += ldb;
  };
  std::int64_t p = 0;
  if constexpr (fetches) {
    constexpr std::int64_t line = 64 / sizeof(typename V::Scalar);
    const typename V::Scalar* near = ahead.at;
    for (std::int64_t left = ahead.rows; left > 0 && p + 4 <= k; --left, p += 4) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        __builtin_prefetch(near + i * line, 0, 2);
        add();
      }
      near += ahead.step;
    }
  }
#pragma GCC unroll 4
  for (; p < k; ++p) add();
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) {
      typename V::Scalar* const to = c + r * ldc + v * V::lanes;
      if (cut && v == vectors - 1) {
        V::store(to, sum[r][v], mask);
      } else {
        V::store(to, sum[r][v]);
      }
    }
  }
}

/// The tile of one vector of columns, whose A has rows in memory. One broadcast load for every
/// multiply-add keeps the loads busier than the sums, so two rows of A are read V::lanes elements
/// at a time and each lane is spread in registers.
template <class V, bool cut, int rows>
void narrow_tile(std::int64_t k, const typename V::Scalar* a, std::int64_t lda,
                 const typename V::Scalar* b, std::int64_t ldb, typename V::Scalar* c,
                 std::int64_t ldc, int lanes, bool load, const Ahead<typename V::Scalar>&) {
  using Reg = typename V::Reg;
  constexpr int spread = rows < 2 ? rows : 2;
  const typename V::Mask mask = V::first(cut ? lanes : V::lanes);
  Reg sum[rows];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) {
    sum[r] = !load ? V::zero() : cut ? V::load(c + r * ldc, mask) : V::load(c + r * ldc);
  }
  const auto add = [&](Reg right, const auto& left, const typename V::Scalar* column) {
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      sum[r] = V::fma(r < spread ? left[r < spread ? r : 0] : V::broadcast(column + r * lda), right,
                      sum[r]);
    }
  };
  const auto right_of = [&](const typename V::Scalar* p) {
    return cut ? V::load(p, mask) : V::load(p);
  };
  std::int64_t p = 0;
  for (; p + V::lanes <= k; p += V::lanes) {
    Reg wide[spread];
#pragma GCC unroll 2
    for (int r = 0; r < spread; ++r) wide[r] = V::load(a + r * lda + p);
    [&]<int... lane>(std::integer_sequence<int, lane...>) {
      const auto step = [&]<int i>(std::integral_constant<int, i>) {
        Reg left[spread];
#pragma GCC unroll 2
        for (int r = 0; r < spread; ++r) left[r] = V::template spread<i>(wide[r]);
        add(right_of(b + i * ldb), left, a + p + i);
      };
      (step(std::integral_constant<int, lane>()), ...);
    }(std::make_integer_sequence<int, V::lanes>());
    b += V::lanes * ldb;
  }
  for (; p < k; ++p) {
    Reg left[spread];
#pragma GCC unroll 2
    for (int r = 0; r < spread; ++r) left[r] = V::broadcast(a + r * lda + p);
    add(right_of(b), left, a + p);
    b += ldb;
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) {
    if (cut) {
      V::store(c + r * ldc, sum[r], mask);
    } else {
      V::store(c + r * ldc, sum[r]);
    }
  }
}

/// See BlockCopy.
template <class V>
void copy_block(std::int64_t rows, std::int64_t columns, const typename V::Scalar* from,
                std::int64_t ld_from, typename V::Scalar* to, std::int64_t ld_to) {
  const std::int64_t whole = columns - columns % V::lanes;
  const auto mask = V::first(static_cast<int>(columns == whole ? V::lanes : columns - whole));
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < whole; c += V::lanes) V::store(to + c, V::load(from + c));
    if (columns != whole) V::store(to + whole, V::load(from + whole, mask));
    from += ld_from;
    to += ld_to;
  }
}

/// See BlockCopy. Squares of vectors are transposed in registers; at the edges the missing elements
/// are zero.
template <class Wide, bool exactly>
void transpose_block(std::int64_t rows, std::int64_t columns, const typename Wide::Scalar* from,
                     std::int64_t ld_from, typename Wide::Scalar* to, std::int64_t ld_to) {
  using V = typename Wide::Square;
  constexpr int side = V::lanes;
  // The destination of a wide vector is zeroed up to its own width, not only to this square's.
  const std::int64_t end =
      exactly ? columns : (columns + Wide::lanes - 1) / Wide::lanes * Wide::lanes;
  for (std::int64_t c = 0; c < end; c += side) {
    const std::int64_t height = columns - c < side ? (columns > c ? columns - c : 0) : side;
    const auto written = V::first(static_cast<int>(exactly ? height : side));
    for (std::int64_t r = 0; r < rows; r += side) {
      const std::int64_t width = rows - r < side ? rows - r : side;
      typename V::Reg square[side];
      if (height == side && width == side) {
        V::load_transposed(square, from + c * ld_from + r, ld_from);
#pragma GCC unroll 16
        for (int i = 0; i < side; ++i) V::store(to + (r + i) * ld_to + c, square[i]);
      } else {
        const auto mask = V::first(static_cast<int>(width));
#pragma GCC unroll 16
        for (int i = 0; i < side; ++i) {
          square[i] = i < height ? V::load(from + (c + i) * ld_from + r, mask) : V::zero();
        }
        V::transpose(square);
#pragma GCC unroll 16
        for (int i = 0; i < side; ++i) {
          if (i < width) V::store(to + (r + i) * ld_to + c, square[i], written);
        }
      }
    }
  }
}

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

/// See RowDots. Each
/// takes a whole cache line of its rows before the next one's turn: rows may all fall into one
/// cache set.
template <class Wide>
void row_dots(std::int64_t rows, std::int64_t k, const typename Wide::Scalar* a, std::int64_t lda,
              const typename Wide::Scalar* x, std::int64_t x_step, typename Wide::Scalar* y) {
  using V = typename Wide::Square;
  constexpr std::int64_t side = V::lanes;
  constexpr int groups = dot_groups<V>;
  constexpr std::int64_t line = 64 / sizeof(typename V::Scalar);
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

/// Adds `rows` more products to each chain of a strip of `vectors` vectors, the last one cut if
/// asked.
template <class V, int vectors, bool cut>
void add_rows(int rows, const typename V::Scalar* x, std::int64_t x_step,
              const typename V::Scalar* b, std::int64_t ldb, typename V::Scalar* y, bool load,
              typename V::Mask mask) {
  typename V::Reg sum[vectors];
  const auto read = [mask](const typename V::Scalar* p, int v) {
    return cut && v == vectors - 1 ? V::load(p + v * V::lanes, mask) : V::load(p + v * V::lanes);
  };
#pragma GCC unroll 4
  for (int v = 0; v < vectors; ++v) sum[v] = load ? read(y, v) : V::zero();
  const auto add = [&](int r) {
    const typename V::Reg left = V::broadcast(x + r * x_step);
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) sum[v] = V::fma(left, read(b + r * ldb, v), sum[v]);
  };
  if (rows == summed_rows) {
#pragma GCC unroll 8
    for (int r = 0; r < summed_rows; ++r) add(r);
  } else {
    for (int r = 0; r < rows; ++r) add(r);
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

/// See SumRows.
template <class V>
void sum_rows(std::int64_t n, std::int64_t k, const typename V::Scalar* x, std::int64_t x_step,
              const typename V::Scalar* b, std::int64_t ldb, typename V::Scalar* y) {
  constexpr std::int64_t wide = 4 * V::lanes;
  for (std::int64_t p = 0; p < k; p += summed_rows) {
    const int rows = static_cast<int>(k - p < summed_rows ? k - p : summed_rows);
    const typename V::Scalar* const x_now = x + p * x_step;
    const typename V::Scalar* const b_now = b + p * ldb;
    const auto whole = V::first(V::lanes);
    std::int64_t j = 0;
    for (; j + wide <= n; j += wide)
      add_rows<V, 4, false>(rows, x_now, x_step, b_now + j, ldb, y + j, p > 0, whole);
    for (; j + V::lanes <= n; j += V::lanes)
      add_rows<V, 1, false>(rows, x_now, x_step, b_now + j, ldb, y + j, p > 0, whole);
    if (j < n) {
      add_rows<V, 1, true>(rows, x_now, x_step, b_now + j, ldb, y + j, p > 0,
                           V::first(static_cast<int>(n - j)));
    }
  }
}

/// See TileKernels::fma_chains.
template <class V, int accumulators>
typename V::Scalar fma_chains(std::int64_t n) {
  using Scalar = typename V::Scalar;
  const Scalar factor = 0.5, term = 0.25;
  const typename V::Reg a = V::broadcast(&factor), b = V::broadcast(&term);
  typename V::Reg sum[accumulators];
  // Each chain has a start of its own: compilers make equal chains one.
#pragma GCC unroll 32
  for (int i = 0; i < accumulators; ++i) {
    const Scalar start = static_cast<Scalar>(i + 1);
    sum[i] = V::broadcast(&start);
  }
  for (std::int64_t p = 0; p < n; ++p) {
#pragma GCC unroll 32
    for (int i = 0; i < accumulators; ++i) sum[i] = V::fma(sum[i], a, b);
  }
  Scalar lanes[V::lanes], total = 0;
#pragma GCC unroll 32
  for (int i = 0; i < accumulators; ++i) {
    V::store(lanes, sum[i]);
    total += lanes[0];
  }
  return total;
}

/// Tiles with more than four vectors serve one or two rows only, where nothing else keeps enough
/// accumulators busy.
constexpr bool has_tile(int accumulators, int vectors, int rows) {
  return rows * vectors <= accumulators && (vectors <= 4 || (vectors == 8 && rows <= 2)) &&
         (rows <= 8 || vectors <= 2);
}

template <class V, int accumulators, LayoutA layout, bool cut, int vectors, int rows>
constexpr TileKernel<typename V::Scalar> tile_or_null() {
  if constexpr (!has_tile(accumulators, vectors, rows) || (cut && V::lanes == 1)) {
    return nullptr;
  } else if constexpr (vectors == 1 && layout == LayoutA::rows && V::can_spread) {
    return narrow_tile<V, cut, rows>;
  } else {
    return tile<V, layout, cut, false, vectors, rows>;
  }
}

/// Only the tiles of large products look ahead.
template <class V, int accumulators, LayoutA layout, int vectors, int rows>
constexpr TileKernel<typename V::Scalar> fetching_tile_or_null() {
  constexpr bool is_large = 2 * rows * vectors >= accumulators && vectors >= 2 && vectors <= 4;
  if constexpr (!has_tile(accumulators, vectors, rows) || !is_large) {
    return nullptr;
  } else {
    return tile<V, layout, false, true, vectors, rows>;
  }
}

template <class V, int accumulators, LayoutA layout, bool cut, int... index>
constexpr void add_tiles(TileKernels<typename V::Scalar>& table,
                         std::integer_sequence<int, index...>) {
  constexpr int rows = TileKernels<typename V::Scalar>::max_rows;
  ((table.tile[layout == LayoutA::columns][cut][index / rows][index % rows] =
        tile_or_null<V, accumulators, layout, cut, index / rows + 1, index % rows + 1>()),
   ...);
  if constexpr (!cut) {
    ((table.fetching_tile[layout == LayoutA::columns][index / rows][index % rows] =
          fetching_tile_or_null<V, accumulators, layout, index / rows + 1, index % rows + 1>()),
     ...);
  }
}

/// The table of the vector type V, which has room for `accumulators` sums beside its operands.
template <class V, int accumulators>
constexpr TileKernels<typename V::Scalar> tile_kernels() {
  using Table = TileKernels<typename V::Scalar>;
  constexpr auto all = std::make_integer_sequence<int, Table::max_rows * Table::max_vectors>();
  Table table;
  table.lanes = V::lanes;
  table.accumulators = accumulators;
  add_tiles<V, accumulators, LayoutA::rows, false>(table, all);
  add_tiles<V, accumulators, LayoutA::rows, true>(table, all);
  add_tiles<V, accumulators, LayoutA::columns, false>(table, all);
  add_tiles<V, accumulators, LayoutA::columns, true>(table, all);
  table.copy = copy_block<V>;
  table.transpose = transpose_block<V, false>;
  table.transpose_exactly = transpose_block<V, true>;
  table.dot_rows = dot_groups<typename V::Square> * V::Square::lanes;
  table.row_dots = row_dots<V>;
  table.sum_rows = sum_rows<V>;
  table.fma_chains = fma_chains<V, accumulators>;
  return table;
}

}  // namespace
}  // namespace blockgrad::detail
