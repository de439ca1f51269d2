#pragma once
// Max pooling by windows of 2 x 2 that lie side by side, as many at a time as a register has lanes.
// Included only by the units pool_*.cpp; internal linkage throughout.
//
// What a block of windows reads and writes behind a row's end are the next rows, which are written
// afterwards; at the end of all images blocks are copied.

#include <cstdint>
#include <cstring>
#include <utility>

#include "backends/cpu/pool_kernels.h"
#include "backends/cpu/reduce_lanes.h"

namespace blockgrad::detail {
namespace {

/// Windows in a row: the elements at even and at odd places of two registers.
template <class T>
struct Pairs {
  using L = Lanes<T>;
  using V = typename L::Vector;
  static constexpr int count = L::width;

  V even, odd;

  static Pairs load(const T* p) {
    return split(L::load(p), L::load(p + count), std::make_integer_sequence<int, count>());
  }
  void store(T* p) const { store(p, std::make_integer_sequence<int, count>()); }

 private:
  template <int... i>
  static Pairs split(V a, V b, std::integer_sequence<int, i...>) {
    return {__builtin_shufflevector(a, b, (2 * i)...),
            __builtin_shufflevector(a, b, (2 * i + 1)...)};
  }
  template <int... i>
  void store(T* p, std::integer_sequence<int, i...>) const {
    const V low = __builtin_shufflevector(even, odd, (i / 2 + i % 2 * count)...);
    const V high = __builtin_shufflevector(even, odd, ((i + count) / 2 + i % 2 * count)...);
    __builtin_memcpy(p, &low, sizeof low);
    __builtin_memcpy(p + count, &high, sizeof high);
  }
};

/// Where `next` takes the place of `best`: a larger element, or the first NaN.
template <class V>
auto wins(V next, V best) {
  return (next > best) | ((next != next) & (best == best));
}

/// Windows of 2 x 2 at distances of 2.
bool are_pairs(const PoolShape& s) {
  const auto is_pair = [](const PoolAxis& a) {
    return a.size == 2 && a.stride == 2 && a.padding == 0;
  };
  return is_pair(s.rows) && is_pair(s.columns);
}

template <class T>
void largest_of_pairs(const T* x, T* y, std::int64_t width) {
  const auto top = Pairs<T>::load(x), bottom = Pairs<T>::load(x + width);
  auto best = top.even;
  best = wins(top.odd, best) ? top.odd : best;
  best = wins(bottom.even, best) ? bottom.even : best;
  best = wins(bottom.odd, best) ? bottom.odd : best;
  __builtin_memcpy(y, &best, sizeof best);
}

/// dy goes to where the largest element of its window is, 0 elsewhere: two rows `width` apart, the
/// lower one written last.
template <class T>
void to_largest_of_pairs(const T* x, const T* dy, T* dx, std::int64_t width) {
  const auto top = Pairs<T>::load(x), bottom = Pairs<T>::load(x + width);
  const auto sent = Lanes<T>::load(dy), zero = typename Lanes<T>::Vector{};
  const auto second = wins(top.odd, top.even);
  auto best = second ? top.odd : top.even;
  const auto third = wins(bottom.even, best);
  best = third ? bottom.even : best;
  const auto fourth = wins(bottom.odd, best);
  Pairs<T>{second | third | fourth ? zero : sent, third | fourth ? zero
                                                  : second       ? sent
                                                                 : zero}
      .store(dx);
  Pairs<T>{fourth ? zero : third ? sent : zero, fourth ? sent : zero}.store(dx + width);
}

template <class T>
void copy_elements(T* to, const T* from, std::int64_t count) {
  std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(T));
}

template <class T>
void pool_pairs(const PoolShape& s, std::int64_t images, const T* x, T* y) {
  const std::int64_t width = s.columns.x, results = s.columns.y;
  const T* const x_end = x + images * s.rows.x * width;
  const T* const y_end = y + images * s.rows.y * results;
  constexpr std::int64_t count = Pairs<T>::count;
  for (std::int64_t image = 0; image < images; ++image, x += s.rows.x * width) {
    for (std::int64_t i = 0; i < s.rows.y; ++i, y += results) {
      for (std::int64_t j = 0; j < results; j += count) {
        const T* const top = x + 2 * i * width + 2 * j;
        if (x_end - top >= width + 2 * count && y_end - y >= j + count) {
          largest_of_pairs(top, y + j, width);
          continue;
        }
        const std::int64_t rest = results - j < count ? results - j : count;
        T from[4 * count] = {}, made[count];
        copy_elements(from, top, 2 * rest);
        copy_elements(from + 2 * count, top + width, 2 * rest);
        largest_of_pairs(from, made, 2 * count);
        copy_elements(y + j, made, rest);
      }
    }
  }
}

template <class T>
void pool_to_pairs(const PoolShape& s, std::int64_t images, const T* x, const T* dy, T* dx) {
  constexpr std::int64_t count = Pairs<T>::count, reach = 2 * count;
  const std::int64_t width = s.columns.x, results = s.columns.y, size = s.rows.x * width;
  const T* const x_end = x + images * size;
  const T* const dy_end = dy + images * s.rows.y * results;
  const std::int64_t last = (results - 1) / count * count;
  for (std::int64_t image = 0; image < images; ++image, x += size, dx += size) {
    for (std::int64_t i = 0; i < s.rows.y; ++i, dy += results) {
      // What the last block writes behind the upper row, the others of the lower row write again.
      for (std::int64_t j = last; j >= 0; j -= count) {
        const std::int64_t at = 2 * i * width + 2 * j;
        if (x_end - x >= at + width + reach && dy_end - dy >= j + count) {
          to_largest_of_pairs(x + at, dy + j, dx + at, width);
          continue;
        }
        const std::int64_t rest = results - j < count ? results - j : count;
        T from[2 * reach] = {}, sent[count] = {}, to[2 * reach];
        copy_elements(from, x + at, 2 * rest);
        copy_elements(from + reach, x + at + width, 2 * rest);
        copy_elements(sent, dy + j, rest);
        to_largest_of_pairs(from, sent, to, reach);
        copy_elements(dx + at, to, 2 * rest);
        copy_elements(dx + at + width, to + reach, 2 * rest);
      }
      T* const row = dx + 2 * i * width;
      for (std::int64_t j = 2 * results; j < width; ++j) row[j] = row[width + j] = 0;
    }
    for (std::int64_t k = 2 * s.rows.y * width; k < size; ++k) dx[k] = 0;
  }
}

}  // namespace
}  // namespace blockgrad::detail
