#pragma once
// Floating sums, max and min along rows for one instruction set, in the order of tape.h: 16 lanes
// in registers, several rows or blocks side by side. Everything has internal linkage and nothing of
// std is called.

#include <cstdint>

#include "backends/cpu/reduce_lanes.h"
#include "graph/scalar_random.h"

namespace blockgrad::detail {
namespace {

using std::int32_t;
using std::int64_t;

constexpr int64_t block_size = 1024;
constexpr int max_levels = 54;  // of the tree over blocks: 2^63 / 2^10

struct Sum {
  template <class V>
  static inline __attribute__((always_inline)) void join(V& a, const V& b) {
    a = a + b;
  }
  template <class T>
  static T identity() {
    return T(0);
  }

  /// The lanes of a block. Lanes without an element hold -0, which changes no sum.
  template <class T>
  struct Block {
    using L = Lanes<T>;
    typename L::Vector sums[L::count];

    inline __attribute__((always_inline)) void start(int v, typename L::Vector x) { sums[v] = x; }
    inline __attribute__((always_inline)) void start(int v, typename L::Vector x,
                                                     typename L::Mask in) {
      sums[v] = in ? x : -typename L::Vector{};
    }
    inline __attribute__((always_inline)) void add(int v, typename L::Vector x) {
      sums[v] = sums[v] + x;
    }
    inline __attribute__((always_inline)) void add(int v, typename L::Vector x,
                                                   typename L::Mask in) {
      sums[v] = in ? sums[v] + x : sums[v];
    }
    inline __attribute__((always_inline)) T end() {
      return L::across(sums, [](auto a, auto b) { return a + b; });
    }
  };
};

/// As math::maximum and math::minimum.
template <bool greatest>
struct Extreme {
  template <class V>
  static inline __attribute__((always_inline)) void join(V& a, const V& b) {
    const V y = greatest ? (a > b ? a : b) : (a < b ? a : b);
    a = a == a ? y : a;
  }
  template <class T>
  static T identity() {
    if constexpr (math::Kind<T>::is_floating)
      return greatest ? -math::infinity<T>() : math::infinity<T>();
    else if constexpr (math::Same<T, bool>::value) return !greatest;
    else {
      constexpr bool is_signed = T(-1) < T(0);
      constexpr auto bits = sizeof(T) * 8 - (is_signed ? 1 : 0);
      constexpr T most = static_cast<T>(~std::uint64_t{0} >> (64 - bits));
      return greatest ? static_cast<T>(-most - 1) * (is_signed ? 1 : 0) : most;
    }
  }

  /// The lanes of a block: the best numbers, and where there was a NaN, which wins in the end.
  template <class T>
  struct Block {
    using L = Lanes<T>;
    typename L::Vector best[L::count];
    typename L::Mask nans[L::count];

    static inline __attribute__((always_inline)) auto better(auto a, auto b) {
      return greatest ? (a > b ? a : b) : (a < b ? a : b);
    }
    inline __attribute__((always_inline)) void start(int v, typename L::Vector x) {
      best[v] = x;
      nans[v] = x != x;
    }
    inline __attribute__((always_inline)) void start(int v, typename L::Vector x,
                                                     typename L::Mask in) {
      best[v] = in ? x : typename L::Vector{} + identity<T>();
      nans[v] = in & (x != x);
    }
    inline __attribute__((always_inline)) void add(int v, typename L::Vector x) {
      best[v] = better(best[v], x);
      nans[v] |= x != x;
    }
    inline __attribute__((always_inline)) void add(int v, typename L::Vector x,
                                                   typename L::Mask in) {
      best[v] = in ? better(best[v], x) : best[v];
      nans[v] |= in & (x != x);
    }
    inline __attribute__((always_inline)) T end() {
      const bool any = L::across(nans, [](auto a, auto b) { return a | b; }) != 0;
      const T y = L::across(best, [](auto a, auto b) { return better(a, b); });
      return any ? static_cast<T>(__builtin_nan("")) : y;
    }
  };
};

/// 1 <= n <= 1024 elements joined to one.
template <class K, class T>
T row_block(const T* x, int64_t n) {
  using L = Lanes<T>;
  typename K::template Block<T> block;
  int64_t k = lane_count;
  if (n < lane_count) {
#pragma GCC unroll 16
    for (int v = 0; v < L::count; ++v) {
      const int64_t left = n - v * L::width;
      block.start(v, L::load(x + v * L::width, left), L::first(left));
    }
    return block.end();
  }
#pragma GCC unroll 16
  for (int v = 0; v < L::count; ++v) block.start(v, L::load(x + v * L::width));
  for (; k + lane_count <= n; k += lane_count) {
#pragma GCC unroll 16
    for (int v = 0; v < L::count; ++v) block.add(v, L::load(x + k + v * L::width));
  }
  if (k < n) {
#pragma GCC unroll 16
    for (int v = 0; v < L::count; ++v) {
      const int64_t left = n - k - v * L::width;
      block.add(v, L::load(x + k + v * L::width, left), L::first(left));
    }
  }
  return block.end();
}

/// Rows whose lanes do not fill the pipeline of additions go side by side.
template <class T>
constexpr int rows_at_once = Lanes<T>::count < 4 ? 4 / Lanes<T>::count : 1;

/// y[r] of row r, which is at x[r * stride], for 16 <= n <= 1024.
template <class K, class T, int rows = rows_at_once<T>>
void row_blocks(T* y, const T* x, int64_t n, int64_t stride) {
  using L = Lanes<T>;
  typename K::template Block<T> blocks[rows];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < L::count; ++v) blocks[r].start(v, L::load(x + r * stride + v * L::width));
  }
  int64_t k = lane_count;
  for (; k + lane_count <= n; k += lane_count) {
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < L::count; ++v)
        blocks[r].add(v, L::load(x + r * stride + k + v * L::width));
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; k < n && v < L::count; ++v) {
      const int64_t left = n - k - v * L::width;
      blocks[r].add(v, L::load(x + r * stride + k + v * L::width, left), L::first(left));
    }
    y[r] = blocks[r].end();
  }
}

template <class K, class T>
T row_of_blocks(const T* x, int64_t n) {
  T levels[max_levels];
  T made[rows_at_once<T>];
  int top = 0;
  for (int64_t block = 0; block * block_size < n; ++block) {
    const int64_t left = n - block * block_size;
    const int64_t number = block % rows_at_once<T>;
    if (number == 0 && left >= rows_at_once<T> * block_size)
      row_blocks<K>(made, x + block * block_size, block_size, block_size);
    else if (left + number * block_size < rows_at_once<T> * block_size)
      made[number] = row_block<K>(x + block * block_size, left < block_size ? left : block_size);
    T y = made[number];
    for (int64_t carry = block; carry & 1; carry >>= 1) {
      T older = levels[--top];
      K::join(older, y);
      y = older;
    }
    levels[top++] = y;
  }
  T y = levels[--top];
  while (top > 0) {
    T older = levels[--top];
    K::join(older, y);
    y = older;
  }
  return y;
}

template <class K, class T>
void float_rows(void* out, int32_t*, const void* in, int64_t n, int64_t count, int64_t stride) {
  const T* x = static_cast<const T*>(in);
  T* y = static_cast<T*>(out);
  int64_t i = 0;
  if (rows_at_once<T> > 1 && n >= lane_count && n <= block_size) {
    for (; i + rows_at_once<T> <= count; i += rows_at_once<T>, x += rows_at_once<T> * stride)
      row_blocks<K>(y + i, x, n, stride);
    if (rows_at_once<T> > 2 && i + 3 == count) {
      row_blocks<K, T, 3>(y + i, x, n, stride);
      return;
    }
    if (rows_at_once<T> > 2 && i + 2 == count) {
      row_blocks<K, T, 2>(y + i, x, n, stride);
      return;
    }
  }
  for (; i < count; ++i, x += stride) {
    y[i] = n == 0            ? K::template identity<T>()
           : n <= block_size ? row_block<K>(x, n)
                             : row_of_blocks<K>(x, n);
  }
}

}  // namespace
}  // namespace blockgrad::detail
