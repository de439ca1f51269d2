#pragma once
// The kernels of convolutions, written once for every instruction set. Included only by the units
// conv_*.cpp; internal linkage throughout (see simd.h).

#include <cstdint>
#include <utility>

#include "backends/cpu/conv_kernels.h"
#include "backends/cpu/simd.h"

namespace blockgrad::detail {
namespace {

/// See ConvTile. Every loop over the accumulators is unrolled in full: a single one that is not
/// moves the whole array to the stack.
template <class V, bool cut, int vectors, int rows>
void conv_tile(std::int64_t count, const ConvTap* taps, const typename V::Scalar* a,
               std::int64_t lda, const typename V::Scalar* b, typename V::Scalar* c,
               std::int64_t ldc, int lanes, bool load) {
  using Reg = typename V::Reg;
  const typename V::Mask mask = V::first(cut ? lanes : V::lanes);
  const auto load_vector = [mask](const typename V::Scalar* p, int v) {
    return cut && v == vectors - 1 ? V::load(p + v * V::lanes, mask) : V::load(p + v * V::lanes);
  };
  Reg sum[rows][vectors];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sum[r][v] = load ? load_vector(c + r * ldc, v) : V::zero();
  }
  for (std::int64_t t = 0; t < count; ++t) {
    const typename V::Scalar* const left = a + taps[t].weight;
    const typename V::Scalar* const from = b + taps[t].source;
    Reg right[vectors];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) right[v] = load_vector(from, v);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const Reg weight = V::broadcast(left + r * lda);
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) sum[r][v] = V::fma(weight, right[v], sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
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

/// Compilers would rather read a vector again for each use than keep it, and loads are scarce.
template <class Reg>
void keep_in_register(Reg& x) {
#if defined(__x86_64__)
  asm("" : "+v"(x));
#elif defined(__aarch64__)
  asm("" : "+w"(x));
#endif
}

/// One pass of ConvDots: the lanes first_lane .. first_lane + V::lanes - 1 of each sum.
template <class V, int taps, int rows>
void dot_pass(const ConvLines& lines, const typename V::Scalar* a,
              const typename V::Scalar* const (&b)[taps], typename V::Scalar* sums,
              std::int64_t sums_row, std::int64_t first_lane, bool load) {
  using T = typename V::Scalar;
  using Reg = typename V::Reg;
  constexpr std::int64_t step = dot_lanes<T>;
  Reg sum[rows][taps];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int t = 0; t < taps; ++t)
      sum[r][t] = load ? V::load(sums + r * sums_row + t * step) : V::zero();
  }
  const std::int64_t a_row = lines.a_row;
  for (std::int64_t l = 0; l < lines.count; ++l) {
    const T* const left = a + l * lines.a_line;
    const std::int64_t line = l * lines.b_line;
    std::int64_t i = first_lane;
    for (; i + V::lanes <= lines.length; i += step) {
      Reg right[taps];
#pragma GCC unroll 8
      for (int t = 0; t < taps; ++t) right[t] = V::load(b[t] + line + i);
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
        Reg x = V::load(left + r * a_row + i);
        keep_in_register(x);
#pragma GCC unroll 8
        for (int t = 0; t < taps; ++t) sum[r][t] = V::fma(x, right[t], sum[r][t]);
      }
    }
    if (i >= lines.length) continue;
    const typename V::Mask mask = V::first(static_cast<int>(lines.length - i));
    Reg right[taps];
#pragma GCC unroll 8
    for (int t = 0; t < taps; ++t) right[t] = V::load(b[t] + line + i, mask);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const Reg x = V::load(left + r * a_row + i, mask);
#pragma GCC unroll 8
      for (int t = 0; t < taps; ++t) sum[r][t] = V::fma(x, right[t], sum[r][t]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int t = 0; t < taps; ++t) V::store(sums + r * sums_row + t * step, sum[r][t]);
  }
}

/// See ConvDots.
template <class V, int taps, int rows>
void conv_dots(const ConvLines& lines, const typename V::Scalar* a, const typename V::Scalar* b,
               const ConvTap* tap, typename V::Scalar* sums, std::int64_t sums_row, bool load) {
  const typename V::Scalar* from[taps];
#pragma GCC unroll 8
  for (int t = 0; t < taps; ++t) from[t] = b + tap[t].source;
  for (std::int64_t e = 0; e < dot_lanes<typename V::Scalar>; e += V::lanes)
    dot_pass<V, taps, rows>(lines, a, from, sums + e, sums_row, e, load);
}

template <class T>
void add_lanes(T* y, const T* sums, std::int64_t count) {
  constexpr int lanes = static_cast<int>(dot_lanes<T>);
  for (std::int64_t i = 0; i < count; ++i) {
    T lane[lanes];
#pragma GCC unroll 16
    for (int e = 0; e < lanes; ++e) lane[e] = sums[i * lanes + e];
#pragma GCC unroll 4
    for (int half = lanes / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
      for (int e = 0; e < half; ++e) lane[e] += lane[e + half];
    }
    y[i] = lane[0];
  }
}

/// See ConvKernels::copy_rows. What a row writes behind its end the next row writes again.
template <class V>
void copy_rows(const ConvRow& row, typename V::Scalar* to, const typename V::Scalar* from,
               std::int64_t from_row, std::int64_t count) {
  using T = typename V::Scalar;
  const std::int64_t whole = row.count - row.count % V::lanes;
  const auto mask = V::first(static_cast<int>(row.count - whole > 0 ? row.count - whole : 1));
  for (std::int64_t r = 0; r < count; ++r) {
    for (std::int64_t j = 0; j < row.before; j += V::lanes) V::store(to + j, V::zero());
    T* const inside = to + row.before;
    std::int64_t j = 0;
    if (row.step == 1) {
      for (; j < whole; j += V::lanes) V::store(inside + j, V::load(from + j));
      if (j < row.count) {
        V::store(inside + j, V::load(from + j, mask));
        j += V::lanes;
      }
    } else if (row.step == 2) {
      for (std::int64_t i = 0; i < row.count; ++i) inside[i] = from[2 * i];
      j = row.count;
    } else {
      for (std::int64_t i = 0; i < row.count; ++i) inside[i] = from[i * row.step];
      j = row.count;
    }
    for (; row.before + j < row.length; j += V::lanes) V::store(inside + j, V::zero());
    to += row.length;
    from += from_row;
  }
}

template <class T>
void spread(T* to, const T* from, std::int64_t count, std::int64_t step) {
  for (std::int64_t i = 0; i < count; ++i) to[i * step] = from[i];
}

template <class T>
void interleave(T* __restrict to, const T* __restrict even, const T* __restrict odd,
                std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    to[2 * i] = even[i];
    to[2 * i + 1] = odd[i];
  }
}

template <class V, int accumulators, bool cut, int vectors, int rows>
constexpr ConvTile<typename V::Scalar> conv_tile_or_null() {
  if constexpr (rows * vectors <= accumulators && !(cut && V::lanes == 1)) {
    return conv_tile<V, cut, vectors, rows>;
  } else {
    return nullptr;
  }
}

template <class V, int accumulators, int most_taps, int taps, int rows>
constexpr ConvDots<typename V::Scalar> conv_dots_or_null() {
  if constexpr (rows * taps <= accumulators && taps <= most_taps) {
    return conv_dots<V, taps, rows>;
  } else {
    return nullptr;
  }
}

template <class V, int accumulators, int most_taps, int... index>
constexpr void add_conv_kernels(ConvKernels<typename V::Scalar>& table,
                                std::integer_sequence<int, index...>) {
  constexpr int rows = ConvKernels<typename V::Scalar>::max_rows;
  ((table.tiles[false][index / rows][index % rows] =
        conv_tile_or_null<V, accumulators, false, index / rows + 1, index % rows + 1>()),
   ...);
  ((table.tiles[true][index / rows][index % rows] =
        conv_tile_or_null<V, accumulators, true, index / rows + 1, index % rows + 1>()),
   ...);
  ((table.dots[index / rows][index % rows] =
        conv_dots_or_null<V, accumulators, most_taps, index / rows + 1, index % rows + 1>()),
   ...);
}

/// The table of the vector type V, which has room for `accumulators` sums beside its operands.
template <class V, int accumulators, int tile_rows, int dot_rows, int dot_taps>
constexpr ConvKernels<typename V::Scalar> conv_kernels() {
  using T = typename V::Scalar;
  using Table = ConvKernels<T>;
  constexpr auto all = std::make_integer_sequence<int, Table::max_rows * Table::max_vectors>();
  Table table;
  table.lanes = V::lanes;
  table.accumulators = accumulators;
  table.tile_rows = tile_rows;
  table.dot_rows = dot_rows;
  table.dot_taps = dot_taps;
  add_conv_kernels<V, accumulators, dot_taps>(table, all);
  table.add_lanes = add_lanes<T>;
  table.copy_rows = copy_rows<V>;
  table.spread = spread<T>;
  table.interleave = interleave<T>;
  return table;
}

}  // namespace
}  // namespace blockgrad::detail
