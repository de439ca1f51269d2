#pragma once
// Copies of blocks of matrices, as they are and transposed, written once for every instruction set.
// Included only by micro_kernel.h; internal linkage throughout (see simd.h).

#include "backends/cpu/simd.h"

#include <cstdint>

namespace blockgrad::detail {
namespace {

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

/// See PanelSplit.
template <class V>
void split_panels(std::int64_t rows, std::int64_t columns, const typename V::Scalar* from,
                  std::int64_t ld_from, typename V::Scalar* to, int width, std::int64_t panel) {
  constexpr std::int64_t line = 64 / sizeof(typename V::Scalar);
  // Rows lie apart, so that no prefetcher follows them: so many are on their way.
  constexpr std::int64_t far = 8;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; c += line) __builtin_prefetch(from + far * ld_from + c);
    typename V::Scalar* row = to;
    for (std::int64_t first = 0; first < columns; first += width, row += panel) {
      for (std::int64_t c = 0; c < width && first + c < columns; c += V::lanes) {
        const std::int64_t left = columns - first - c;
        V::store(row + c, left >= V::lanes
                              ? V::load(from + first + c)
                              : V::load(from + first + c, V::first(static_cast<int>(left))));
      }
    }
    from += ld_from;
    to += width;
  }
}

}  // namespace
}  // namespace blockgrad::detail
