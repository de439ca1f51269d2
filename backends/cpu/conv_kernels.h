#pragma once
// What one instruction set offers to convolutions. The tables are constants; one translation unit
// per instruction set defines one of them.

#include <cstdint>

#include "backends/cpu/conv_ahead.h"
#include "backends/cpu/isa.h"

namespace blockgrad::detail {

/// C[r, j] = fma chain over t = 0 .. count-1 of a[t * rows + r] * b[sources[t] + places[v] + j %
/// lanes of a vector], started from C if `load`, else from zero, for a fixed number of rows and of
/// vectors v of columns. C[r, j] is c[r * ldc + j]. The last vector has `lanes` columns: nothing
/// behind them is read or written. Meanwhile each term brings near what is at its place of `ahead`,
/// which may be any address.
template <class T>
using ConvTile = void (*)(std::int64_t count, const std::int64_t* sources, const T* a, const T* b,
                          const std::int64_t* places, T* c, std::int64_t ldc, int lanes, bool load,
                          ConvFetch<T> ahead);

/// Where the operands of one term of a sum begin, in elements.
struct ConvTap {
  std::int64_t weight = 0;
  std::int64_t source = 0;
};

/// What a sum over many places is kept in: lane e of `dot_lanes` adds the places e, e + dot_lanes,
/// .. as one fma chain. 64 bytes for every instruction set.
template <class T>
constexpr std::int64_t dot_lanes = 64 / static_cast<std::int64_t>(sizeof(T));

/// Rows of a panel, in which dot_lanes of each row lie side by side, step by step.
constexpr std::int64_t dot_panel = 8;

/// sums[(r * taps + t) * dot_lanes + e] is lane e of the sum over steps s < count of
///   a[steps[s].weight + r * a_row + e] * b[tap[t].source + steps[s].source + e],
/// added to what is there if `load`; for a fixed number of rows and of taps. Meanwhile each step
/// brings near what is at its place of `ahead`.
template <class T>
using ConvDots = void (*)(std::int64_t count, const ConvTap* steps, const T* a, std::int64_t a_row,
                          const T* b, const ConvTap* tap, T* sums, bool load, ConvFetch<T> ahead);

/// As ConvDots of rows in a panel: a[s * dot_panel * dot_lanes + r * dot_lanes + e] times
/// b[tap[t].source + sources[s] + e].
template <class T>
using ConvPanelDots = void (*)(std::int64_t count, const std::int64_t* sources, const T* a,
                               const T* b, const ConvTap* tap, T* sums, bool load,
                               ConvFetch<T> ahead);

/// Taps of a slide, all of a kernel's column.
constexpr std::int64_t slide_taps = 3;

/// Where the steps of a slide lie: lines of vectors, `count` in each image.
struct ConvLines {
  std::int64_t images = 0, count = 0;
  std::int64_t a_image = 0, a_step = 0, a_row = 0;  // a_step: from one vector to the next
  std::int64_t b_image = 0, b_line = 0;
};

/// As ConvDots for steps that are the vectors of lines, and taps a line behind each other:
/// sums[(r * slide_taps + t) * dot_lanes + e] is lane e of the sum over images n, lines l and
/// vectors v of a[n * a_image + (l * vectors + v) * a_step + r * a_row + e] * b[n * b_image +
/// (l + t) * b_line + v * dot_lanes + e], for a fixed number of vectors and rows.
template <class T>
using ConvSlide = void (*)(const ConvLines& lines, const T* a, const T* b, T* sums, bool load,
                           ConvFetch<T> ahead);

/// Rows of a plane: `before` zeros, then `count` elements of the source, each `step` behind the one
/// before, then zeros up to `length`.
struct ConvRow {
  std::int64_t before = 0, count = 0, length = 0, step = 1;
};

/// A plane: `above` rows of zeros, `rows` from sources `from_row` elements apart, zeros up to
/// `size` elements, at least one vector of them, all in all whole vectors. Rows begin `to_row`
/// elements apart; what is between them stays as it was. `count` such planes, from sources
/// `from_plane` apart to places `to_plane` apart.
struct ConvPlane {
  ConvRow row;
  std::int64_t above = 0, rows = 0, from_row = 0, to_row = 0, size = 0;
  std::int64_t count = 0, from_plane = 0, to_plane = 0;
  /// Where the source's rows follow each other as the plane's do: which elements of a row are the
  /// source's, repeated for all rows, a bit for each element of the plane from the lowest bit of
  /// the first word on, and after the last word the first one again. Null elsewhere.
  const std::uint64_t* inside = nullptr;
  std::int64_t words = 0;
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
  ConvPanelDots<T> panel_dots[max_vectors][max_rows] = {};
  /// [vectors - 1][rows - 1]; null where there is none.
  ConvSlide<T> slides[max_vectors][max_rows] = {};
  /// y[i] = the sum of the dot_lanes of sums[i]: lane e with e + 8, then e + 4, e + 2, e + 1; fewer
  /// lanes begin further down.
  void (*add_lanes)(T* y, const T* sums, std::int64_t count) = nullptr;
  void (*copy_planes)(const ConvPlane& plane, T* to, const T* from) = nullptr;
  /// count elements to the rows of a panel's steps, with zeros up to whole steps.
  void (*copy_to_panel)(T* to, const T* from, std::int64_t count) = nullptr;
  /// to[i * step] = from[i].
  void (*spread)(T* to, const T* from, std::int64_t count, std::int64_t step) = nullptr;
  /// to[2 i] = even[i] and to[2 i + 1] = odd[i] for the `length` elements of each of `lines`, which
  /// lie to_line apart; those of even and odd follow each other.
  void (*interleave)(T* to, std::int64_t to_line, const T* even, const T* odd, std::int64_t length,
                     std::int64_t lines) = nullptr;
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
