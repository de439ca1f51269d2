#pragma once
// What one instruction set offers to convolutions. The tables are constants; one translation unit
// per instruction set defines one of them.

#include <cstdint>

#include "backends/cpu/isa.h"

namespace blockgrad::detail {

/// Where the operands of one term of a sum begin, in elements.
struct ConvTap {
  std::int64_t weight = 0;
  std::int64_t source = 0;
};

/// C[r, j] = fma chain over t = 0 .. count-1 of a[r * lda + taps[t].weight] * b[taps[t].source +
/// j], started from C if `load`, else from zero, for a fixed number of rows and of vectors of
/// columns. C[r, j] is c[r * ldc + j]. The last vector has `lanes` columns: nothing behind them is
/// read or written.
template <class T>
using ConvTile = void (*)(std::int64_t count, const ConvTap* taps, const T* a, std::int64_t lda,
                          const T* b, T* c, std::int64_t ldc, int lanes, bool load);

/// `count` lines of `length` elements: line l of A's row r begins at l * a_line + r * a_row, that
/// of every B at l * b_line.
struct ConvLines {
  std::int64_t count = 0, length = 0;
  std::int64_t a_line = 0, a_row = 0, b_line = 0;
};

/// What a sum over the elements of lines is kept in: lane e of `dot_lanes` adds the elements e, e +
/// dot_lanes, .. of each line, line by line, as one fma chain. 64 bytes for every instruction set.
template <class T>
constexpr std::int64_t dot_lanes = 64 / static_cast<std::int64_t>(sizeof(T));

/// sums[r * sums_row + t * dot_lanes + e] is lane e of the sum over lines of A's row r times b +
/// taps[t].source, added to what is there if `load`; for a fixed number of rows and of taps.
template <class T>
using ConvDots = void (*)(const ConvLines& lines, const T* a, const T* b, const ConvTap* taps,
                          T* sums, std::int64_t sums_row, bool load);

/// A row that lies in another one, or zeros around it: `before` zeros, then `count` elements of the
/// source, each `step` behind the one before, then zeros up to `length`.
struct ConvRow {
  std::int64_t before = 0, count = 0, length = 0, step = 1;
};

template <class T>
struct ConvKernels {
  static constexpr int max_rows = 8;
  static constexpr int max_vectors = 6;

  int lanes = 0;                   // elements of one vector
  int accumulators = 0;            // vectors that a tile may keep in registers
  int tile_rows = 0;               // of a tile where there are enough
  int dot_rows = 0, dot_taps = 0;  // at most

  /// [last vector is cut][vectors - 1][rows - 1]; null where there is no such tile.
  ConvTile<T> tiles[2][max_vectors][max_rows] = {};
  /// [taps - 1][rows - 1]; null where there is none.
  ConvDots<T> dots[max_vectors][max_rows] = {};
  /// y[i] = the sum of the dot_lanes of sums[i]: lane e with e + 8, then e + 4, e + 2, e + 1; fewer
  /// lanes begin further down.
  void (*add_lanes)(T* y, const T* sums, std::int64_t count) = nullptr;
  /// `count` rows one behind the other, from sources `from_row` apart. Up to `lanes` elements
  /// behind the last one are written too.
  void (*copy_rows)(const ConvRow& row, T* to, const T* from, std::int64_t from_row,
                    std::int64_t count) = nullptr;
  /// to[i * step] = from[i].
  void (*spread)(T* to, const T* from, std::int64_t count, std::int64_t step) = nullptr;
  /// to[2 i] = even[i] and to[2 i + 1] = odd[i].
  void (*interleave)(T* to, const T* even, const T* odd, std::int64_t count) = nullptr;
};

struct ConvTable {
  ConvKernels<float> f32;
  ConvKernels<double> f64;

  template <class T>
  const ConvKernels<T>& of() const {
    if constexpr (sizeof(T) == sizeof(float)) return f32;
    else return f64;
  }
};

/// The kernels for a supported instruction set.
const ConvTable& conv_table(Isa isa);

}  // namespace blockgrad::detail
