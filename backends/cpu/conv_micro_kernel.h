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
               std::int64_t ldc, int lanes, bool load, const typename V::Scalar* ahead) {
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
    __builtin_prefetch(ahead + t * dot_lanes<typename V::Scalar>, 0, 2);
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

/// One pass of ConvDots: V::lanes lanes of each sum.
template <class V, int taps, int rows>
void dot_pass(std::int64_t count, const ConvTap* steps, const typename V::Scalar* a,
              std::int64_t a_row, const typename V::Scalar* b, const ConvTap* tap,
              typename V::Scalar* sums, std::int64_t sums_row, bool load,
              const typename V::Scalar* ahead) {
  using T = typename V::Scalar;
  using Reg = typename V::Reg;
  constexpr std::int64_t width = dot_lanes<T>;
  const T* from[taps];
#pragma GCC unroll 8
  for (int t = 0; t < taps; ++t) from[t] = b + tap[t].source;
  Reg sum[rows][taps];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int t = 0; t < taps; ++t)
      sum[r][t] = load ? V::load(sums + r * sums_row + t * width) : V::zero();
  }
  for (std::int64_t s = 0; s < count; ++s) {
    const std::int64_t at = steps[s].source;
    const T* const own = a + steps[s].weight;
    __builtin_prefetch(ahead + s * width, 0, 2);
    Reg right[taps];
#pragma GCC unroll 8
    for (int t = 0; t < taps; ++t) right[t] = V::load(from[t] + at);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      Reg left = V::load(own + r * a_row);
      keep_in_register(left);
#pragma GCC unroll 8
      for (int t = 0; t < taps; ++t) sum[r][t] = V::fma(left, right[t], sum[r][t]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int t = 0; t < taps; ++t) V::store(sums + r * sums_row + t * width, sum[r][t]);
  }
}

/// See ConvDots.
template <class V, int taps, int rows>
void conv_dots(std::int64_t count, const ConvTap* steps, const typename V::Scalar* a,
               std::int64_t a_row, const typename V::Scalar* b, const ConvTap* tap,
               typename V::Scalar* sums, std::int64_t sums_row, bool load,
               const typename V::Scalar* ahead) {
  for (std::int64_t e = 0; e < dot_lanes<typename V::Scalar>; e += V::lanes)
    dot_pass<V, taps, rows>(count, steps, a + e, a_row, b + e, tap, sums + e, sums_row, load,
                            ahead);
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

#if defined(__AVX512F__)
/// Elements p[0], p[step], .. where lanes low .. high-1 are wanted, zeros in the other lanes; no
/// memory outside of these elements is touched.
template <class V, int step>
struct LanesBetween {
  static_assert(step == 1 || step == 2);
  using Reg = typename V::Reg;
  using Mask = typename V::Mask;
  Mask near = 0, far = 0;

  LanesBetween() = default;
  LanesBetween(std::int64_t low, std::int64_t high) {
    if (low >= high) return;
    const std::uint64_t behind = std::uint64_t{2} << step * (high - 1);
    const std::uint64_t before = std::uint64_t{1} << step * low;
    const std::uint64_t bits = behind - before;
    near = static_cast<Mask>(bits);
    far = static_cast<Mask>(bits >> V::lanes);
  }
  Reg load(const typename V::Scalar* p) const {
    if constexpr (step == 1) return V::load(p, near);
    else
      return even(V::load(p, near), V::load(p + V::lanes, far),
                  std::make_integer_sequence<int, V::lanes>());
  }

 private:
  template <int... e>
  static Reg even(Reg a, Reg b, std::integer_sequence<int, e...>) {
    return __builtin_shufflevector(a, b, (2 * e)...);
  }
};

/// Rows of so many vectors. What a store writes behind a row's end the next row writes again.
template <class V, int step, int vectors>
void copy_rows(const ConvPlane& plane, typename V::Scalar* to, const typename V::Scalar* from) {
  LanesBetween<V, step> lanes[vectors];
#pragma GCC unroll 4
  for (int v = 0; v < vectors; ++v) {
    const auto in = [&](std::int64_t at) {
      at -= v * V::lanes;
      return at < 0 ? 0 : at < V::lanes ? at : V::lanes;
    };
    lanes[v] = {in(plane.row.before), in(plane.row.before + plane.row.count)};
  }
  from -= step * plane.row.before;
  for (std::int64_t r = 0; r < plane.rows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v)
      V::store(to + v * V::lanes, lanes[v].load(from + v * step * V::lanes));
    to += plane.row.length;
    from += plane.from_row;
  }
}

/// True if it was done: rows of at most four vectors.
template <class V, int step>
bool copy_in_vectors(const ConvPlane& plane, typename V::Scalar* to,
                     const typename V::Scalar* from) {
  switch ((plane.row.length + V::lanes - 1) / V::lanes) {
    case 1: copy_rows<V, step, 1>(plane, to, from); return true;
    case 2: copy_rows<V, step, 2>(plane, to, from); return true;
    case 3: copy_rows<V, step, 3>(plane, to, from); return true;
    case 4: copy_rows<V, step, 4>(plane, to, from); return true;
    default: return false;
  }
}
#else
/// Without masks for any lanes rows are copied in other ways.
template <class V, int step>
bool copy_in_vectors(const ConvPlane&, typename V::Scalar*, const typename V::Scalar*) {
  return false;
}
#endif

template <class V>
void copy_long_rows(const ConvPlane& plane, typename V::Scalar* to,
                    const typename V::Scalar* from) {
  const ConvRow& row = plane.row;
  const std::int64_t whole = row.count - row.count % V::lanes;
  const auto mask = V::first(static_cast<int>(row.count > whole ? row.count - whole : 1));
  for (std::int64_t r = 0; r < plane.rows; ++r) {
    for (std::int64_t j = 0; j < row.before; j += V::lanes) V::store(to + j, V::zero());
    typename V::Scalar* const inside = to + row.before;
    std::int64_t j = 0;
    for (; j < whole; j += V::lanes) V::store(inside + j, V::load(from + j));
    if (j < row.count) {
      V::store(inside + j, V::load(from + j, mask));
      j += V::lanes;
    }
    for (; row.before + j < row.length; j += V::lanes) V::store(inside + j, V::zero());
    to += row.length;
    from += plane.from_row;
  }
}

/// Every second element. While the rows behind a row exist, whole vectors are read over its end.
template <class V>
void copy_halved_rows(const ConvPlane& plane, typename V::Scalar* to,
                      const typename V::Scalar* from) {
  using T = typename V::Scalar;
  constexpr std::int64_t width = dot_lanes<T>;
  const ConvRow& row = plane.row;
  const std::int64_t reach = (row.count + width - 1) / width * 2 * width;
  const std::int64_t last = (reach + plane.from_row - 1) / plane.from_row;
  for (std::int64_t r = 0; r < plane.rows; ++r) {
    for (std::int64_t j = 0; j < row.before; ++j) to[j] = 0;
    T* __restrict const inside = to + row.before;
    if (r + last < plane.rows) {
      for (std::int64_t j = 0; j < row.count; j += width) {
#pragma GCC unroll 16
        for (std::int64_t e = 0; e < width; ++e) inside[j + e] = from[2 * (j + e)];
      }
    } else {
      for (std::int64_t j = 0; j < row.count; ++j) inside[j] = from[2 * j];
    }
    for (std::int64_t j = row.before + row.count; j < row.length; ++j) to[j] = 0;
    to += row.length;
    from += plane.from_row;
  }
}

template <class T>
void copy_spaced_rows(const ConvPlane& plane, T* to, const T* from) {
  const ConvRow& row = plane.row;
  for (std::int64_t r = 0; r < plane.rows; ++r) {
    for (std::int64_t j = 0; j < row.before; ++j) to[j] = 0;
    for (std::int64_t j = 0; j < row.count; ++j) to[row.before + j] = from[j * row.step];
    for (std::int64_t j = row.before + row.count; j < row.length; ++j) to[j] = 0;
    to += row.length;
    from += plane.from_row;
  }
}

template <class V>
void fill_zeros(typename V::Scalar* to, std::int64_t count) {
  std::int64_t i = 0;
  for (; i + V::lanes <= count; i += V::lanes) V::store(to + i, V::zero());
  for (; i < count; ++i) to[i] = 0;
}

/// See ConvPlane. Stores may reach behind a row, but the zeros come after them.
template <class V>
void copy_plane(const ConvPlane& plane, typename V::Scalar* to, const typename V::Scalar* from) {
  const std::int64_t above = plane.above * plane.row.length;
  fill_zeros<V>(to, above);
  typename V::Scalar* const inside = to + above;
  const std::int64_t step = plane.row.step;
  const bool is_done = (step == 1 && copy_in_vectors<V, 1>(plane, inside, from)) ||
                       (step == 2 && copy_in_vectors<V, 2>(plane, inside, from));
  if (!is_done) {
    if (step == 1) copy_long_rows<V>(plane, inside, from);
    else if (step == 2 && plane.from_row > 0) copy_halved_rows<V>(plane, inside, from);
    else copy_spaced_rows(plane, inside, from);
  }
  const std::int64_t done = above + plane.rows * plane.row.length;
  fill_zeros<V>(to + done, plane.size - done);
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
  table.copy_plane = copy_plane<V>;
  table.copy_to_panel = copy_to_panel<V>;
  table.spread = spread<T>;
  table.interleave = interleave<T>;
  return table;
}

}  // namespace
}  // namespace blockgrad::detail
