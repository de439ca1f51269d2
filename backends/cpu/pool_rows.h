#pragma once
// The kernels of max pooling, written once for every instruction set as loops of fixed shape that
// compilers vectorise: rows are copied to scratch, so that what is read behind their end exists.
// Included only by the units pool_*.cpp; internal linkage throughout.

#include <cstdint>
#include <cstring>

#include "backends/cpu/pool_pairs.h"

namespace blockgrad::detail {
namespace {

/// The integer of the size of T, which vectors of T may be compared into.
template <class T>
struct IndexOf {
  using Type = std::int32_t;
};
template <>
struct IndexOf<double> {
  using Type = std::int64_t;
};

/// Row `row` of the image in scratch, with -inf in the padding and behind; false if it is all
/// padding.
template <class T>
bool load_row(const PoolShape& s, const T* x, std::int64_t row, T* to, std::int64_t length) {
  if (row < 0 || row >= s.rows.x) return false;
  const T nothing = static_cast<T>(-__builtin_inf());
  const std::int64_t before = s.columns.padding, width = s.columns.x;
  for (std::int64_t j = 0; j < before; ++j) to[j] = nothing;
  std::memcpy(to + before, x + row * width, static_cast<std::size_t>(width) * sizeof(T));
  for (std::int64_t j = before + width; j < length; ++j) to[j] = nothing;
  return true;
}

template <class T, std::int64_t step>
void join_larger(T* __restrict y, const T* __restrict x, std::int64_t count) {
  for (std::int64_t j = 0; j < count; ++j) {
    const T next = x[j * step];
    y[j] = wins(next, y[j]) ? next : y[j];
  }
}

template <class T>
void join_larger(T* __restrict y, const T* __restrict x, std::int64_t count, std::int64_t step) {
  if (step == 1) return join_larger<T, 1>(y, x, count);
  if (step == 2) return join_larger<T, 2>(y, x, count);
  for (std::int64_t j = 0; j < count; ++j) {
    const T next = x[j * step];
    y[j] = wins(next, y[j]) ? next : y[j];
  }
}

std::int64_t rounded(std::int64_t n) { return (n + pool_lanes - 1) / pool_lanes * pool_lanes; }

std::int64_t row_length(const PoolAxis& columns) {
  return rounded(columns.y) * columns.stride + columns.size + columns.x;
}

template <class T>
void pool_largest(const PoolShape& s, const T* x, T* y, T* scratch) {
  const std::int64_t count = rounded(s.columns.y), length = row_length(s.columns);
  T* const best = scratch;
  T* const row = scratch + count;
  for (std::int64_t i = 0; i < s.rows.y; ++i) {
    for (std::int64_t j = 0; j < count; ++j) best[j] = static_cast<T>(-__builtin_inf());
    for (std::int64_t r = 0; r < s.rows.size; ++r) {
      if (!load_row(s, x, i * s.rows.stride + r - s.rows.padding, row, length)) continue;
      for (std::int64_t q = 0; q < s.columns.size; ++q)
        join_larger(best, row + q, count, s.columns.stride);
    }
    std::memcpy(y + i * s.columns.y, best, static_cast<std::size_t>(s.columns.y) * sizeof(T));
  }
}

/// Windows that may overlap, or lie in the padding in part.
template <class T>
void spread_one_by_one(const PoolShape& s, const T* x, const T* dy, T* dx) {
  for (std::int64_t i = 0; i < s.rows.x * s.columns.x; ++i) dx[i] = 0;
  for (std::int64_t i = 0; i < s.rows.y; ++i) {
    for (std::int64_t j = 0; j < s.columns.y; ++j) {
      std::int64_t best = -1;
      for (std::int64_t r = 0; r < s.rows.size; ++r) {
        const std::int64_t row = i * s.rows.stride + r - s.rows.padding;
        if (row < 0 || row >= s.rows.x) continue;
        for (std::int64_t q = 0; q < s.columns.size; ++q) {
          const std::int64_t column = j * s.columns.stride + q - s.columns.padding;
          if (column < 0 || column >= s.columns.x) continue;
          const std::int64_t at = row * s.columns.x + column;
          if (best < 0 || wins(x[at], x[best])) best = at;
        }
      }
      dx[best] += dy[i * s.columns.y + j];
    }
  }
}

template <class T>
void pool_to_largest(const PoolShape& s, const T* x, const T* dy, T* dx, T* scratch) {
  using Index = typename IndexOf<T>::Type;
  const bool is_apart = s.rows.stride >= s.rows.size && s.columns.stride >= s.columns.size &&
                        s.rows.padding == 0 && s.columns.padding == 0;
  if (!is_apart) return spread_one_by_one(s, x, dy, dx);
  const std::int64_t count = rounded(s.columns.y), length = row_length(s.columns);
  const std::int64_t step = s.columns.stride, width = s.columns.x;
  T* const best = scratch;
  T* const sent = scratch + count;
  Index* const first = reinterpret_cast<Index*>(scratch + 2 * count);
  T* const row = scratch + 3 * count;
  std::int64_t done = 0;  // rows of dx
  for (std::int64_t i = 0; i < s.rows.y; ++i) {
    const std::int64_t top = i * s.rows.stride;
    for (std::int64_t j = 0; j < count; ++j) {
      best[j] = static_cast<T>(-__builtin_inf());
      first[j] = 0;
      sent[j] = 0;
    }
    std::memcpy(sent, dy + i * s.columns.y, static_cast<std::size_t>(s.columns.y) * sizeof(T));
    for (std::int64_t r = 0; r < s.rows.size; ++r) {
      load_row(s, x, top + r, row, length);
      for (std::int64_t q = 0; q < s.columns.size; ++q) {
        const T* __restrict const from = row + q;
        const auto number = static_cast<Index>(r * s.columns.size + q);
        if (step == 2) {
          for (std::int64_t j = 0; j < count; ++j) {
            const T next = from[2 * j];
            const bool is_larger = wins(next, best[j]);
            best[j] = is_larger ? next : best[j];
            first[j] = is_larger ? number : first[j];
          }
        } else {
          for (std::int64_t j = 0; j < count; ++j) {
            const T next = from[j * step];
            const bool is_larger = wins(next, best[j]);
            best[j] = is_larger ? next : best[j];
            first[j] = is_larger ? number : first[j];
          }
        }
      }
    }
    for (; done < top; ++done)
      std::memset(dx + done * width, 0, static_cast<std::size_t>(width) * sizeof(T));
    for (std::int64_t r = 0; r < s.rows.size; ++r) {
      const auto number = static_cast<Index>(r * s.columns.size);
      for (std::int64_t j = 0; j < length; ++j) row[j] = 0;
      for (std::int64_t q = 0; q < s.columns.size; ++q) {
        const auto at = static_cast<Index>(number + q);
        for (std::int64_t j = 0; j < count; ++j) row[j * step + q] = first[j] == at ? sent[j] : 0;
      }
      for (std::int64_t j = s.columns.y * step; j < width; ++j) row[j] = 0;
      std::memcpy(dx + done * width, row, static_cast<std::size_t>(width) * sizeof(T));
      ++done;
    }
  }
  for (; done < s.rows.x; ++done)
    std::memset(dx + done * width, 0, static_cast<std::size_t>(width) * sizeof(T));
}

template <class T>
void pool_images(const PoolShape& s, std::int64_t images, const T* x, T* y, T* scratch) {
  if (are_pairs(s)) return pool_pairs(s, images, x, y);
  for (std::int64_t n = 0; n < images; ++n) {
    pool_largest(s, x, y, scratch);
    x += s.rows.x * s.columns.x;
    y += s.rows.y * s.columns.y;
  }
}

template <class T>
void pool_to_images(const PoolShape& s, std::int64_t images, const T* x, const T* dy, T* dx,
                    T* scratch) {
  if (are_pairs(s)) return pool_to_pairs(s, images, x, dy, dx);
  for (std::int64_t n = 0; n < images; ++n) {
    pool_to_largest(s, x, dy, dx, scratch);
    x += s.rows.x * s.columns.x;
    dx += s.rows.x * s.columns.x;
    dy += s.rows.y * s.columns.y;
  }
}

constexpr PoolTable pool_kernels() {
  return {{pool_images<float>, pool_to_images<float>},
          {pool_images<double>, pool_to_images<double>}};
}

}  // namespace
}  // namespace blockgrad::detail
