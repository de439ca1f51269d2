#pragma once
// The tile kernels and the table of all kernels, written once for every instruction set. Included
// only by the units gemm_*.cpp; internal linkage throughout (see simd.h).

#include "backends/cpu/gemm_copies.h"
#include "backends/cpu/gemm_kernels.h"
#include "backends/cpu/gemm_vectors.h"
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

/// What a tile does beside its sums; see Ahead.
enum class Beside { nothing, fetches, packs };

/// See TileKernel. Every loop over the accumulators is unrolled in full: a single one that is not
/// moves the whole array to the stack.
template <class V, LayoutA layout, bool cut, Beside beside, int vectors, int rows>
void tile(std::int64_t k, const typename V::Scalar* a, std::int64_t lda,
          const typename V::Scalar* b, std::int64_t ldb, typename V::Scalar* c, std::int64_t ldc,
          int lanes, bool load, const Ahead<typename V::Scalar>& ahead) {
  using Reg = typename V::Reg;
  if (beside != Beside::nothing && ahead.c) bring_near<V, vectors, rows>(ahead.c, ldc);
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
  constexpr std::int64_t line = 64 / sizeof(typename V::Scalar);
  const auto add = [&] {
    // Of A's rows, which lie apart, the tiles below read what comes next: no prefetcher tells.
    if constexpr (layout == LayoutA::columns) __builtin_prefetch(a + line, 0, 2);
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
  if constexpr (beside == Beside::packs) {
    // A row comes from the next cache while so many rows before it are copied.
    constexpr std::int64_t far = 8;
    typename V::Scalar* panel = ahead.panel;
    const std::int64_t steps = k / ahead.rows;
    const typename V::Scalar* from = ahead.at;
    for (std::int64_t row = 0; row < ahead.rows; ++row) {
#pragma GCC unroll 8
      for (int column = 0; column < vectors * V::lanes; column += line)
        __builtin_prefetch(from + far * ahead.step + column, 0, 3);
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v)
        V::store(panel + v * V::lanes, V::load(from + v * V::lanes));
      from += ahead.step;
      panel += vectors * V::lanes;
      for (const std::int64_t end = p + steps; p < end; ++p) add();
    }
  }
  if constexpr (beside == Beside::fetches) {
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
    return tile<V, layout, cut, Beside::nothing, vectors, rows>;
  }
}

/// Only the tiles of large products do something beside.
template <class V, int accumulators, LayoutA layout, Beside beside, int vectors, int rows>
constexpr TileKernel<typename V::Scalar> large_tile_or_null() {
  constexpr bool is_large = 2 * rows * vectors >= accumulators && vectors >= 2 && vectors <= 4;
  if constexpr (!has_tile(accumulators, vectors, rows) || !is_large) {
    return nullptr;
  } else {
    return tile<V, layout, false, beside, vectors, rows>;
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
    constexpr int column = layout == LayoutA::columns;
    ((table.fetching_tile[column][index / rows][index % rows] =
          large_tile_or_null<V, accumulators, layout, Beside::fetches, index / rows + 1,
                             index % rows + 1>()),
     ...);
    ((table.packing_tile[column][index / rows][index % rows] =
          large_tile_or_null<V, accumulators, layout, Beside::packs, index / rows + 1,
                             index % rows + 1>()),
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
  table.split_panels = split_panels<V>;
  table.dot_rows = dot_groups<typename V::Square> * V::Square::lanes;
  table.row_dots = row_dots<V>;
  table.sum_rows = sum_rows<V>;
  table.fma_chains = fma_chains<V, accumulators>;
  return table;
}

}  // namespace
}  // namespace blockgrad::detail
