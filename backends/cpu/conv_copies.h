#pragma once
// How convolutions copy rows of images to planes and put results between each other, written once
// for every instruction set. Included only by the units conv_*.cpp; internal linkage throughout
// (see simd.h).

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "backends/cpu/conv_kernels.h"
#include "backends/cpu/simd.h"

namespace blockgrad::detail {
namespace {

/// See ConvPlane. copy_rows(plane, to, from) copies the rows of the source, whose stores may reach
/// behind a row: what comes there comes after them. So may those of the zeros above.
template <class V, class F>
void copy_planes_by(const ConvPlane& plane, typename V::Scalar* to, const typename V::Scalar* from,
                    const F& copy_rows) {
  const std::int64_t above = plane.above * plane.to_row;
  const std::int64_t below = above + plane.rows * plane.to_row;
  const std::int64_t last = plane.size - V::lanes;
  for (std::int64_t p = 0; p < plane.count; ++p) {
    for (std::int64_t i = 0; i < std::min(above, last); i += V::lanes) V::store(to + i, V::zero());
    copy_rows(plane, to + above, from);
    for (std::int64_t i = below; i < last; i += V::lanes) V::store(to + i, V::zero());
    V::store(to + last, V::zero());
    to += plane.to_plane;
    from += plane.from_plane;
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
  /// Of two places of which only near ones are wanted, half a vector each.
  Reg load_two(const typename V::Scalar* p, const typename V::Scalar* q) const {
    return even(V::load(p, near), V::load(q, near), std::make_integer_sequence<int, V::lanes>());
  }

 private:
  template <int... e>
  static Reg even(Reg a, Reg b, std::integer_sequence<int, e...>) {
    return __builtin_shufflevector(a, b, (2 * e)...);
  }
};

/// Rows of so many vectors. What a store writes behind a row's end the next row writes again.
template <class V, int step, int vectors>
struct CopiedRows {
  LanesBetween<V, step> lanes[vectors];

  explicit CopiedRows(const ConvPlane& plane) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      const auto in = [&](std::int64_t at) {
        at -= v * V::lanes;
        return at < 0 ? 0 : at < V::lanes ? at : V::lanes;
      };
      lanes[v] = {in(plane.row.before), in(plane.row.before + plane.row.count)};
    }
  }
  void operator()(const ConvPlane& plane, typename V::Scalar* to,
                  const typename V::Scalar* from) const {
    from -= step * plane.row.before;
    for (std::int64_t r = 0; r < plane.rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v)
        V::store(to + v * V::lanes, lanes[v].load(from + v * step * V::lanes));
      to += plane.to_row;
      from += plane.from_row;
    }
  }
};

/// Of rows of half a vector two at a time.
template <class V>
struct CopiedPairs {
  LanesBetween<V, 2> lanes;

  explicit CopiedPairs(const ConvPlane& plane)
      : lanes(plane.row.before, plane.row.before + plane.row.count) {}
  void operator()(const ConvPlane& plane, typename V::Scalar* to,
                  const typename V::Scalar* from) const {
    from -= 2 * plane.row.before;
    std::int64_t r = 0;
    for (; r + 2 <= plane.rows; r += 2, to += V::lanes, from += 2 * plane.from_row)
      V::store(to, lanes.load_two(from, from + plane.from_row));
    if (r < plane.rows) V::store(to, lanes.load(from));
  }
};

/// True if it was done: rows of at most four vectors.
template <class V, int step>
bool copy_in_vectors(const ConvPlane& plane, typename V::Scalar* to,
                     const typename V::Scalar* from) {
  if constexpr (step == 2) {
    if (plane.row.length * 2 == V::lanes) {
      copy_planes_by<V>(plane, to, from, CopiedPairs<V>(plane));
      return true;
    }
  }
  const auto copy = [&](auto vectors) {
    copy_planes_by<V>(plane, to, from, CopiedRows<V, step, vectors()>(plane));
    return true;
  };
  switch ((plane.row.length + V::lanes - 1) / V::lanes) {
    case 1: return copy(std::integral_constant<int, 1>());
    case 2: return copy(std::integral_constant<int, 2>());
    case 3: return copy(std::integral_constant<int, 3>());
    case 4: return copy(std::integral_constant<int, 4>());
    default: return false;
  }
}

/// Whole planes in their own vectors, if the source's rows lie as theirs and vectors are few.
template <class V>
bool copy_in_order(const ConvPlane& plane, typename V::Scalar* to, const typename V::Scalar* from) {
  constexpr std::int64_t most_vectors = 128;
  const std::int64_t vectors = plane.size / V::lanes;
  if (plane.inside == nullptr || vectors > most_vectors) return false;
  const std::int64_t begin = plane.above * plane.row.length;
  const std::int64_t end = begin + plane.rows * plane.row.length;
  const auto below = [](std::int64_t lane) {
    constexpr std::uint64_t one = 1, all = ~std::uint64_t{0};
    return lane >= 64 ? all : lane > 0 ? (one << lane) - 1 : 0;
  };
  typename V::Mask masks[most_vectors];
  for (std::int64_t v = 0, word = 0; v < vectors; ++v) {
    const std::int64_t e = v * V::lanes;
    const std::uint64_t bits = plane.inside[word] >> e % 64 & below(end - e) & ~below(begin - e);
    masks[v] = static_cast<typename V::Mask>(bits);
    if (e % 64 == 64 - V::lanes && ++word == plane.words) word = 0;
  }
  from -= begin + plane.row.before;
  for (std::int64_t i = 0; i < plane.count; ++i) {
    for (std::int64_t v = 0; v < vectors; ++v)
      V::store(to + v * V::lanes, V::load(from + v * V::lanes, masks[v]));
    to += plane.to_plane;
    from += plane.from_plane;
  }
  return true;
}

/// a[from], b[from], a[from + 1], ..
template <class V, int from, int... e>
typename V::Reg zip(typename V::Reg a, typename V::Reg b, std::integer_sequence<int, e...>) {
  return __builtin_shufflevector(a, b, (from + e / 2 + e % 2 * V::lanes)...);
}

/// See ConvKernels::interleave.
template <class V>
void interleave_line(typename V::Scalar* to, const typename V::Scalar* even,
                     const typename V::Scalar* odd, std::int64_t length) {
  constexpr auto all = std::make_integer_sequence<int, V::lanes>();
  constexpr std::int64_t lanes = V::lanes;
  for (; length >= 2 * lanes; length -= 2 * lanes, to += 2 * lanes, even += lanes, odd += lanes) {
    const auto first = V::load(even), second = V::load(odd);
    V::store(to, zip<V, 0>(first, second, all));
    V::store(to + lanes, zip<V, lanes / 2>(first, second, all));
  }
  if (length == 0) return;
  const auto up_to = [](std::int64_t n) -> typename V::Mask {
    if (n <= 0) return 0;
    return V::first(static_cast<int>(n));
  };
  const auto first = V::load(even, up_to((length + 1) / 2)),
             second = V::load(odd, up_to(length / 2));
  V::store(to, zip<V, 0>(first, second, all), up_to(std::min(length, lanes)));
  if (length > lanes)
    V::store(to + lanes, zip<V, lanes / 2>(first, second, all), up_to(length - lanes));
}
#else
template <class V>
bool copy_in_order(const ConvPlane&, typename V::Scalar*, const typename V::Scalar*) {
  return false;
}

/// Without masks for any lanes rows are copied in other ways.
template <class V, int step>
bool copy_in_vectors(const ConvPlane&, typename V::Scalar*, const typename V::Scalar*) {
  return false;
}

/// See ConvKernels::interleave.
template <class V, class T = typename V::Scalar>
void interleave_line(T* __restrict to, const T* __restrict even, const T* __restrict odd,
                     std::int64_t length) {
  for (std::int64_t i = 0; i < length / 2; ++i) {
    to[2 * i] = even[i];
    to[2 * i + 1] = odd[i];
  }
  if (length % 2 != 0) to[length - 1] = even[length / 2];
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
    to += plane.to_row;
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
    to += plane.to_row;
    from += plane.from_row;
  }
}

/// to[i * to_step] = from[i * from_step]. Unrolled: of so short a loop the time would depend on
/// where it lies in the code.
template <class T>
void copy_apart(T* to, std::int64_t to_step, const T* from, std::int64_t from_step,
                std::int64_t count) {
#pragma GCC unroll 8
  for (std::int64_t i = 0; i < count; ++i) to[i * to_step] = from[i * from_step];
}

template <class T>
void copy_spaced_rows(const ConvPlane& plane, T* to, const T* from) {
  const ConvRow& row = plane.row;
  for (std::int64_t r = 0; r < plane.rows; ++r) {
    for (std::int64_t j = 0; j < row.before; ++j) to[j] = 0;
    if (row.count == 1) to[row.before] = *from;
    else copy_apart(to + row.before, 1, from, row.step, row.count);
    for (std::int64_t j = row.before + row.count; j < row.length; ++j) to[j] = 0;
    to += plane.to_row;
    from += plane.from_row;
  }
}

template <class V>
void copy_other_rows(const ConvPlane& plane, typename V::Scalar* to,
                     const typename V::Scalar* from) {
  if (plane.row.step == 1) copy_long_rows<V>(plane, to, from);
  else if (plane.row.step == 2 && plane.from_row > 0) copy_halved_rows<V>(plane, to, from);
  else copy_spaced_rows(plane, to, from);
}

/// See ConvPlane.
template <class V>
void copy_planes(const ConvPlane& plane, typename V::Scalar* to, const typename V::Scalar* from) {
  const bool is_done = copy_in_order<V>(plane, to, from) ||
                       (plane.row.step == 1 && copy_in_vectors<V, 1>(plane, to, from)) ||
                       (plane.row.step == 2 && copy_in_vectors<V, 2>(plane, to, from));
  if (!is_done) copy_planes_by<V>(plane, to, from, copy_other_rows<V>);
}

template <class T>
void spread(T* to, const T* from, std::int64_t count, std::int64_t step) {
  copy_apart(to, step, from, 1, count);
}

/// See ConvKernels::interleave.
template <class V>
void interleave(typename V::Scalar* to, std::int64_t to_line, const typename V::Scalar* even,
                const typename V::Scalar* odd, std::int64_t length, std::int64_t lines) {
  for (std::int64_t l = 0; l < lines; ++l) {
    interleave_line<V>(to, even, odd, length);
    to += to_line;
    even += (length + 1) / 2;
    odd += length / 2;
  }
}

}  // namespace
}  // namespace blockgrad::detail
