#pragma once
// Reductions of one instruction set; the contract and the order of sums are in tape.h. Floating
// sums, max and min keep 16 lanes, in registers along a row and in a scratch of 4 KB along columns;
// what does not depend on the order (integers, positions) is a plain loop. Everything has internal
// linkage and nothing of std is called.

#include <cstdint>

#include "backends/cpu/reduce_rows.h"
#include "graph/scalar_random.h"

// Loops whose elements do not depend on each other, in place or not. Where there is nothing to gain
// the compiler may leave one as it is.
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed"
#define BG_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define BG_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace blockgrad::detail {
namespace {

template <class K, class T>
void join_arrays(T* __restrict a, const T* __restrict b, int64_t n) {
  for (int64_t i = 0; i < n; ++i) K::join(a[i], b[i]);
}
/// b's stretches step elements apart, in their order.
template <class K, class T>
void join_four_arrays(T* __restrict a, const T* __restrict b, int64_t step, int64_t n) {
  const T *c = b + step, *d = c + step, *e = d + step;
  for (int64_t i = 0; i < n; ++i) {
    T y = a[i];
    K::join(y, b[i]);
    K::join(y, c[i]);
    K::join(y, d[i]);
    K::join(y, e[i]);
    a[i] = y;
  }
}
template <class T>
void copy_array(T* __restrict a, const T* __restrict b, int64_t n) {
  for (int64_t i = 0; i < n; ++i) a[i] = b[i];
}

/// Columns go in blocks of this many bytes.
constexpr int64_t column_bytes = 1024;

/// Adds rows k .. n-1 of a block to the lanes of `width` columns; k is a multiple of 16. Lane l of
/// column c is lanes[l * width + c], so that rows without gaps are added 16 at a time; four rows of
/// a lane are added at once. Where it is inlined, the caller's lanes are known to be aligned.
template <class K, class T>
inline __attribute__((always_inline)) void add_to_lanes(T* lanes, const T* x, int64_t k, int64_t n,
                                                        int64_t width, int64_t stride) {
  if (stride == width) {
    for (; k + 4 * lane_count <= n; k += 4 * lane_count)
      join_four_arrays<K>(lanes, x + k * width, lane_count * width, lane_count * width);
    for (; k < n; k += lane_count) {
      join_arrays<K>(lanes, x + k * width, (n - k < lane_count ? n - k : lane_count) * width);
    }
    return;
  }
  for (; k + 4 * lane_count <= n; k += 4 * lane_count) {
    for (int64_t l = 0; l < lane_count; ++l) {
      join_four_arrays<K>(lanes + l * width, x + (k + l) * stride, lane_count * stride, width);
    }
  }
  for (; k < n; ++k) join_arrays<K>(lanes + k % lane_count * width, x + k * stride, width);
}

/// The first `active` lanes of each column.
template <class K, class T>
void join_lanes(T* y, T* lanes, int64_t active, int64_t width) {
  for (int64_t half = lane_count / 2; half > 0; half /= 2) {
    if (active > half) join_arrays<K>(lanes, lanes + half * width, (active - half) * width);
    active = active < half ? active : half;
  }
  copy_array(y, lanes, width);
}

template <class T>
void start_lanes(T* lanes, const T* x, int64_t active, int64_t width, int64_t stride) {
  if (stride == width) return copy_array(lanes, x, active * width);
  for (int64_t l = 0; l < active; ++l) copy_array(lanes + l * width, x + l * stride, width);
}

/// y[c] for `width` columns and 1 <= n <= 1024 rows.
template <class K, class T>
void column_block(T* y, const T* x, int64_t n, int64_t width, int64_t stride, T* lanes) {
  const int64_t active = n < lane_count ? n : lane_count;
  start_lanes(lanes, x, active, width, stride);
  add_to_lanes<K>(lanes, x, lane_count, n, width, stride);
  join_lanes<K>(y, lanes, active, width);
}

/// See LanesFn.
template <class T>
void begin_sums(void* lanes, void*, const void* in, int64_t n, int64_t count, int64_t stride) {
  T* sums = static_cast<T*>(lanes);
  const T* x = static_cast<const T*>(in);
  start_lanes(sums, x, lane_count, count, stride);
  add_to_lanes<Sum>(sums, x, lane_count, n, count, stride);
}
template <class T>
void end_sums(void* lanes, void* out, const void* in, int64_t n, int64_t count, int64_t stride) {
  T* sums = static_cast<T*>(lanes);
  add_to_lanes<Sum>(sums, static_cast<const T*>(in), 0, n, count, stride);
  join_lanes<Sum>(static_cast<T*>(out), sums, lane_count, count);
}

template <class K, class T>
void columns_of_blocks(T* y, const T* x, int64_t n, int64_t width, int64_t stride, T* lanes) {
  constexpr int64_t row = column_bytes / sizeof(T);
  alignas(64) T levels[max_levels * row];
  alignas(64) T sums[row];
  T* top = levels;
  for (int64_t block = 0; block * block_size < n; ++block) {
    const int64_t left = n - block * block_size;
    column_block<K>(sums, x + block * block_size * stride, left < block_size ? left : block_size,
                    width, stride, lanes);
    for (int64_t carry = block; carry & 1; carry >>= 1) {
      top -= row;
      join_arrays<K>(top, sums, width);
      copy_array(sums, top, width);
    }
    copy_array(top, sums, width);
    top += row;
  }
  top -= row;
  while (top > levels) {
    join_arrays<K>(top - row, top, width);
    top -= row;
  }
  copy_array(y, levels, width);
}

template <class K, class T>
void float_columns(void* out, int32_t*, const void* in, int64_t n, int64_t count, int64_t stride) {
  constexpr int64_t row = column_bytes / sizeof(T);
  const T* x = static_cast<const T*>(in);
  T* y = static_cast<T*>(out);
  if (n == 0) {
    for (int64_t c = 0; c < count; ++c) y[c] = K::template identity<T>();
    return;
  }
  alignas(64) T lanes[lane_count * row];
  for (int64_t c = 0; c < count; c += row) {
    const int64_t width = count - c < row ? count - c : row;
    if (n <= block_size) column_block<K>(y + c, x + c, n, width, stride, lanes);
    else columns_of_blocks<K>(y + c, x + c, n, width, stride, lanes);
  }
}

template <class K, class T>
T extreme_of(const T* x, int64_t n) {
  T best = K::template identity<T>();
  for (int64_t k = 0; k < n; ++k) K::join(best, x[k]);
  return best;
}
/// Bytes of 0 and 1, which compilers do not trust bool to be.
template <class K>
bool extreme_of(const bool* x, int64_t n) {
  if (n == 0) return K::template identity<bool>();
  return extreme_of<K>(reinterpret_cast<const unsigned char*>(x), n) != 0;
}

/// Integers and bool, in any order: sums as Out = i64, max and min as Out = T.
template <class K, class T, class Out>
void integer_rows(void* out, int32_t*, const void* in, int64_t n, int64_t count, int64_t stride) {
  using Wide = math::wrapping_t<Out>;
  const T* x = static_cast<const T*>(in);
  Out* y = static_cast<Out*>(out);
  for (int64_t i = 0; i < count; ++i, x += stride) {
    if constexpr (math::Same<K, Sum>::value) {
      Wide sum = 0;
      for (int64_t k = 0; k < n; ++k) sum += static_cast<Wide>(static_cast<Out>(x[k]));
      y[i] = static_cast<Out>(sum);
    } else {
      y[i] = extreme_of<K>(x, n);
    }
  }
}
template <class K, class T, class Out>
void integer_columns(void* out, int32_t*, const void* in, int64_t n, int64_t count,
                     int64_t stride) {
  using Wide = math::wrapping_t<Out>;
  const T* x = static_cast<const T*>(in);
  Out* y = static_cast<Out*>(out);
  for (int64_t c = 0; c < count; ++c) y[c] = K::template identity<Out>();
  for (int64_t k = 0; k < n; ++k, x += stride) {
    BG_INDEPENDENT
    for (int64_t c = 0; c < count; ++c) {
      if constexpr (math::Same<K, Sum>::value) {
        y[c] =
            static_cast<Out>(static_cast<Wide>(y[c]) + static_cast<Wide>(static_cast<Out>(x[c])));
      } else {
        Out best = y[c];
        K::join(best, x[c]);
        y[c] = best;
      }
    }
  }
}

/// True if a comes before b: greater (less), or the first NaN.
template <bool greatest, class T>
BG_SCALAR bool is_ahead(T a, T b) {
  return ((greatest ? a > b : a < b) | (a != a)) & (b == b);
}

/// The first position of the value that max or min give; NaN is found as NaN.
template <class T>
int64_t position_of(const T* x, T best, int64_t n) {
  constexpr int64_t step = 32;
  int64_t k = 0;
  for (; k + step <= n; k += step) {
    unsigned found = 0;
    for (int64_t i = 0; i < step; ++i) {
      found |= ((x[k + i] == best) | (x[k + i] != x[k + i])) ? 1u : 0u;
    }
    if (found != 0) break;
  }
  if (best == best) {
    while (x[k] != best) ++k;
  } else {
    while (x[k] == x[k]) ++k;
  }
  return k;
}

template <bool greatest, class T>
void arg_rows(void* out, int32_t* index, const void* in, int64_t n, int64_t count, int64_t stride) {
  const T* x = static_cast<const T*>(in);
  for (int64_t i = 0; i < count; ++i, x += stride) {
    T best;
    if constexpr (math::Kind<T>::is_floating)
      float_rows<Extreme<greatest>, T>(&best, nullptr, x, n, 1, 0);
    else integer_rows<Extreme<greatest>, T, T>(&best, nullptr, x, n, 1, 0);
    const int64_t first = position_of(x, best, n);
    index[i] = static_cast<int32_t>(first);
    if (out != nullptr) static_cast<T*>(out)[i] = x[first];
  }
}
template <bool greatest, class T>
void arg_columns(void* out, int32_t* index, const void* in, int64_t n, int64_t count,
                 int64_t stride) {
  constexpr int64_t row = column_bytes / sizeof(T);
  const T* x = static_cast<const T*>(in);
  T best[row];
  for (int64_t c = 0; c < count; c += row) {
    const int64_t width = count - c < row ? count - c : row;
    copy_array(best, x + c, width);
    for (int64_t i = 0; i < width; ++i) index[c + i] = 0;
    for (int64_t k = 1; k < n; ++k) {
      const T* next = x + c + k * stride;
      BG_INDEPENDENT
      for (int64_t i = 0; i < width; ++i) {
        const bool ahead = is_ahead<greatest>(next[i], best[i]);
        best[i] = ahead ? next[i] : best[i];
        index[c + i] = ahead ? static_cast<int32_t>(k) : index[c + i];
      }
    }
    if (out != nullptr) copy_array(static_cast<T*>(out) + c, best, width);
  }
}

}  // namespace
}  // namespace blockgrad::detail
