#pragma once
// The kernels of convolutions, written once for every instruction set. Included only by the units
// conv_*.cpp; internal linkage throughout (see simd.h).

#include <cstdint>
#include <utility>

#include "backends/cpu/conv_copies.h"
#include "backends/cpu/conv_kernels.h"
#include "backends/cpu/conv_registers.h"
#include "backends/cpu/conv_slide.h"
#include "backends/cpu/simd.h"

namespace blockgrad::detail {
namespace {

/// A term of a tile's sums. Every loop over the accumulators is unrolled in full: a single one that
/// is not moves the whole array to the stack.
template <class V, bool cut, int vectors, int rows>
inline __attribute__((always_inline)) void add_term(typename V::Reg (&sum)[rows][vectors],
                                                    const typename V::Scalar* a,
                                                    const typename V::Scalar* b,
                                                    const std::int64_t (&behind)[vectors],
                                                    typename V::Mask mask) {
  hide(b);
  typename V::Reg right[vectors];
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) {
    const typename V::Scalar* const from = at_byte(b, behind[v]);
    right[v] = cut && v == vectors - 1 ? V::load(from, mask) : V::load(from);
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    const typename V::Reg weight = V::broadcast(a + r);
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sum[r][v] = V::fma(weight, right[v], sum[r][v]);
    keep_until_here(weight);
  }
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) keep_until_here(right[v]);
}

/// See ConvTile. Two terms at a time: what counts and points would take the place of products.
template <class V, bool cut, int vectors, int rows>
void conv_tile(std::int64_t count, const std::int64_t* sources, const typename V::Scalar* a,
               const typename V::Scalar* b, const std::int64_t* places, typename V::Scalar* c,
               std::int64_t ldc, int lanes, bool load, ConvFetch<typename V::Scalar> ahead) {
  using T = typename V::Scalar;
  const typename V::Mask mask = V::first(cut ? lanes : V::lanes);
  typename V::Reg sum[rows][vectors];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      const T* const from = c + r * ldc + v * V::lanes;
      sum[r][v] = !load ? V::zero() : cut && v == vectors - 1 ? V::load(from, mask) : V::load(from);
    }
  }
  b += places[0];
  std::int64_t behind[vectors];  // in bytes
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) behind[v] = (places[v] - places[0]) * std::int64_t{sizeof(T)};
  for (const std::int64_t* const end = sources + (count & ~std::int64_t{1}); sources != end;
       sources += 2, a += 2 * rows) {
    __builtin_prefetch(ahead.at, 0, 2);
    __builtin_prefetch(ahead.at + ahead.step, 0, 2);
    ahead.at += 2 * ahead.step;
    add_term<V, cut>(sum, a, b + sources[0], behind, mask);
    add_term<V, cut>(sum, a + rows, b + sources[1], behind, mask);
  }
  if (count % 2 != 0) add_term<V, cut>(sum, a, b + sources[0], behind, mask);
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      T* const to = c + r * ldc + v * V::lanes;
      if (cut && v == vectors - 1) {
        V::store(to, sum[r][v], mask);
      } else {
        V::store(to, sum[r][v]);
      }
    }
  }
}

/// One pass of ConvDots: V::lanes lanes of each sum.
template <class V, int taps, int rows>
void dot_pass(std::int64_t count, const ConvTap* steps, const typename V::Scalar* a,
              std::int64_t a_row, const typename V::Scalar* b, const ConvTap* tap,
              typename V::Scalar* sums, bool load, ConvFetch<typename V::Scalar> ahead) {
  using T = typename V::Scalar;
  using Reg = typename V::Reg;
  constexpr std::int64_t width = dot_lanes<T>;
  const T* const first = b + tap[0].source;
  std::int64_t behind[taps];  // in bytes
#pragma GCC unroll 8
  for (int t = 0; t < taps; ++t)
    behind[t] = (tap[t].source - tap[0].source) * std::int64_t{sizeof(T)};
  Reg sum[rows][taps];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int t = 0; t < taps; ++t)
      sum[r][t] = load ? V::load(sums + (r * taps + t) * width) : V::zero();
  }
  std::int64_t row = a_row * std::int64_t{sizeof(T)};
  const std::int64_t three_rows = 3 * row;
  for (const ConvTap* const end = steps + count; steps != end; ++steps) {
    const T* const from = first + steps->source;
    hide(row);
    const RowPointers<T> own{a + steps->weight, row, three_rows};
    __builtin_prefetch(ahead.at, 0, 2);
    ahead.at += ahead.step;
    Reg right[taps];
#pragma GCC unroll 8
    for (int t = 0; t < taps; ++t) right[t] = V::load(at_byte(from, behind[t]));
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      Reg left = V::load(own[r]);
      keep_in_register(left);
#pragma GCC unroll 8
      for (int t = 0; t < taps; ++t) sum[r][t] = V::fma(left, right[t], sum[r][t]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int t = 0; t < taps; ++t) V::store(sums + (r * taps + t) * width, sum[r][t]);
  }
}

/// See ConvDots.
template <class V, int taps, int rows>
void conv_dots(std::int64_t count, const ConvTap* steps, const typename V::Scalar* a,
               std::int64_t a_row, const typename V::Scalar* b, const ConvTap* tap,
               typename V::Scalar* sums, bool load, ConvFetch<typename V::Scalar> ahead) {
  for (std::int64_t e = 0; e < dot_lanes<typename V::Scalar>; e += V::lanes)
    dot_pass<V, taps, rows>(count, steps, a + e, a_row, b + e, tap, sums + e, load, ahead);
}

/// A step of ConvPanelDots. Every loop over the sums is unrolled in full.
template <class V, int taps, int rows>
inline __attribute__((always_inline)) void add_panel_step(
    typename V::Reg (&sum)[rows][taps], const typename V::Scalar* a,
    const typename V::Scalar* const (&from)[taps], std::int64_t source) {
  constexpr std::int64_t width = dot_lanes<typename V::Scalar>;
  typename V::Reg right[taps];
#pragma GCC unroll 8
  for (int t = 0; t < taps; ++t) right[t] = V::load(from[t] + source);
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    typename V::Reg left = V::load(a + r * width);
    keep_in_register(left);
#pragma GCC unroll 8
    for (int t = 0; t < taps; ++t) sum[r][t] = V::fma(left, right[t], sum[r][t]);
    keep_until_here(left);
  }
#pragma GCC unroll 8
  for (int t = 0; t < taps; ++t) keep_until_here(right[t]);
}

/// One pass of ConvPanelDots: V::lanes lanes of each sum. Two steps at a time: what counts and
/// points would take the place of products.
template <class V, int taps, int rows>
void panel_pass(std::int64_t count, const std::int64_t* sources, const typename V::Scalar* a,
                const typename V::Scalar* b, const ConvTap* tap, typename V::Scalar* sums,
                bool load, ConvFetch<typename V::Scalar> ahead) {
  using T = typename V::Scalar;
  constexpr std::int64_t width = dot_lanes<T>, step = dot_panel * width;
  const T* from[taps];
#pragma GCC unroll 8
  for (int t = 0; t < taps; ++t) from[t] = b + tap[t].source;
  typename V::Reg sum[rows][taps];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int t = 0; t < taps; ++t)
      sum[r][t] = load ? V::load(sums + (r * taps + t) * width) : V::zero();
  }
  for (const std::int64_t* const end = sources + (count & ~std::int64_t{1}); sources != end;
       sources += 2, a += 2 * step) {
    __builtin_prefetch(ahead.at, 0, 2);
    __builtin_prefetch(ahead.at + ahead.step, 0, 2);
    ahead.at += 2 * ahead.step;
    add_panel_step<V>(sum, a, from, sources[0]);
    add_panel_step<V>(sum, a + step, from, sources[1]);
  }
  if (count % 2 != 0) add_panel_step<V>(sum, a, from, sources[0]);
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int t = 0; t < taps; ++t) V::store(sums + (r * taps + t) * width, sum[r][t]);
  }
}

/// See ConvPanelDots.
template <class V, int taps, int rows>
void conv_panel_dots(std::int64_t count, const std::int64_t* sources, const typename V::Scalar* a,
                     const typename V::Scalar* b, const ConvTap* tap, typename V::Scalar* sums,
                     bool load, ConvFetch<typename V::Scalar> ahead) {
  for (std::int64_t e = 0; e < dot_lanes<typename V::Scalar>; e += V::lanes)
    panel_pass<V, taps, rows>(count, sources, a + e, b + e, tap, sums + e, load, ahead);
}

/// See ConvKernels::copy_to_panel.
template <class V>
void copy_to_panel(typename V::Scalar* to, const typename V::Scalar* from, std::int64_t count) {
  constexpr std::int64_t width = dot_lanes<typename V::Scalar>;
  for (; count >= width; count -= width) {
#pragma GCC unroll 16
    for (std::int64_t e = 0; e < width; e += V::lanes) V::store(to + e, V::load(from + e));
    to += dot_panel * width;
    from += width;
  }
  if (count == 0) return;
  for (std::int64_t e = 0; e < width; ++e) to[e] = e < count ? from[e] : 0;
}

#if defined(__AVX512F__)
/// Of 16 sums. Pairs are joined so that lane i of the result belongs to sum i.
inline __m512 added_lanes(const float* sums) {
  const auto two = [&](int i) {
    const __m512 a = _mm512_loadu_ps(sums + 16 * i), b = _mm512_loadu_ps(sums + 16 * (i + 4));
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
  };
  const auto four = [&](int i) {
    const __m512 a = two(i), b = two(i + 8);
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  };
  const auto eight = [&](int i) {
    const __m512 a = four(i), b = four(i + 1);
    return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
  };
  const __m512 a = eight(0), b = eight(2);
  return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
}
#endif

template <class T>
void add_lanes(T* y, const T* sums, std::int64_t count) {
  constexpr int lanes = static_cast<int>(dot_lanes<T>);
  std::int64_t i = 0;
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == sizeof(float)) {
    for (; i + lanes <= count; i += lanes) _mm512_storeu_ps(y + i, added_lanes(sums + i * lanes));
  }
#endif
  for (; i < count; ++i) {
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

template <class V, int accumulators, int most_taps, int taps, int rows>
constexpr ConvPanelDots<typename V::Scalar> conv_panel_dots_or_null() {
  if constexpr (rows * taps <= accumulators && taps <= most_taps) {
    return conv_panel_dots<V, taps, rows>;
  } else {
    return nullptr;
  }
}

/// Where a line's vectors fit beside the sums, of vectors as wide as lanes are many.
template <class V, int accumulators, int vectors, int rows>
constexpr ConvSlide<typename V::Scalar> conv_slide_or_null() {
  constexpr int registers = 32;
  if constexpr (V::lanes == dot_lanes<typename V::Scalar> && rows * slide_taps <= accumulators &&
                (rows + vectors) * slide_taps < registers) {
    return conv_slide<V, vectors, rows>;
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
  ((table.panel_dots[index / rows][index % rows] =
        conv_panel_dots_or_null<V, accumulators, most_taps, index / rows + 1, index % rows + 1>()),
   ...);
  if constexpr (most_taps == slide_taps) {
    ((table.slides[index / rows][index % rows] =
          conv_slide_or_null<V, accumulators, index / rows + 1, index % rows + 1>()),
     ...);
  }
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
  table.copy_planes = copy_planes<V>;
  table.copy_to_panel = copy_to_panel<V>;
  table.spread = spread<T>;
  table.interleave = interleave<V>;
  return table;
}

}  // namespace
}  // namespace blockgrad::detail
