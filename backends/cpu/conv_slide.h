#pragma once
// Dots of a kernel's column: what one tap reads the tap above it reads a line later, so each line
// is loaded once for three taps and slides through registers. Included only by the units
// conv_*.cpp; internal linkage throughout (see simd.h).

#include <cstdint>

#include "backends/cpu/conv_kernels.h"
#include "backends/cpu/conv_registers.h"
#include "backends/cpu/simd.h"

namespace blockgrad::detail {
namespace {

/// See ConvSlide. Unrolled by the taps, lines take each other's registers, and none is copied.
template <class V, int vectors, int rows>
void conv_slide(const ConvLines& lines, const typename V::Scalar* a, const typename V::Scalar* b,
                typename V::Scalar* sums, bool load, ConvFetch<typename V::Scalar> ahead) {
  using T = typename V::Scalar;
  using Reg = typename V::Reg;
  constexpr int taps = slide_taps;
  constexpr std::int64_t width = dot_lanes<T>;
  Reg sum[rows][taps];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int t = 0; t < taps; ++t)
      sum[r][t] = load ? V::load(sums + (r * taps + t) * width) : V::zero();
  }
  std::int64_t row = lines.a_row * std::int64_t{sizeof(T)};
  const std::int64_t three_rows = 3 * row;
  for (std::int64_t n = 0; n < lines.images; ++n) {
    const T* left = a + n * lines.a_image;
    const T* below = b + n * lines.b_image;
    Reg right[vectors][taps];
#pragma GCC unroll 8
    for (int t = 0; t + 1 < taps; ++t) {
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) right[v][t] = V::load(below + v * width);
      below += lines.b_line;
    }
#pragma GCC unroll 3
    for (std::int64_t l = 0; l < lines.count; ++l) {
      hide(row);
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) {
        __builtin_prefetch(ahead.at, 0, 2);
        ahead.at += ahead.step;
        right[v][taps - 1] = V::load(below + v * width);
        const RowPointers<T> own{left, row, three_rows};
#pragma GCC unroll 8
        for (int r = 0; r < rows; ++r) {
          Reg factor = V::load(own[r]);
          keep_in_register(factor);
#pragma GCC unroll 8
          for (int t = 0; t < taps; ++t) sum[r][t] = V::fma(factor, right[v][t], sum[r][t]);
        }
#pragma GCC unroll 8
        for (int t = 0; t + 1 < taps; ++t) right[v][t] = right[v][t + 1];
        left += lines.a_step;
      }
      below += lines.b_line;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int t = 0; t < taps; ++t) V::store(sums + (r * taps + t) * width, sum[r][t]);
  }
}

}  // namespace
}  // namespace blockgrad::detail
