#pragma once
// Walking a strided layout in row-major order.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include "blockgrad/graph/shape.h"

namespace blockgrad {

/// A layout with axes of size 1 dropped and neighbouring axes joined where they step evenly.
struct Walk {
  int rank = 0;
  std::array<std::int64_t, max_rank> sizes{};
  std::array<std::int64_t, max_rank> strides{};
  std::int64_t offset = 0;

  explicit Walk(const Layout& layout) : offset(layout.offset) {
    for (int a = 0; a < layout.shape.rank(); ++a)
      append(layout.shape[a], layout.strides[static_cast<std::size_t>(a)]);
  }

  bool is_contiguous() const { return rank == 0 || (rank == 1 && strides[0] == 1); }
  bool is_scalar() const {
    for (int a = 0; a < rank; ++a) {
      if (strides[static_cast<std::size_t>(a)] != 0) return false;
    }
    return true;
  }

  /// From one element to the next along the last axis.
  std::int64_t step() const { return rank == 0 ? 1 : strides[static_cast<std::size_t>(rank - 1)]; }

  /// Where an element lies.
  std::int64_t place(std::int64_t element) const {
    std::int64_t at = offset;
    for (int a = rank; a-- > 0;) {
      const auto axis = static_cast<std::size_t>(a);
      const std::int64_t rest = a > 0 ? element / sizes[axis] : 0;
      at += (element - rest * sizes[axis]) * strides[axis];
      element = rest;
    }
    return at;
  }

  /// f(at, count) for the elements first .. first+n-1 in row-major order, by runs along the last
  /// axis: element i of a run lies at `at` + i * step().
  template <class F>
  void runs(std::int64_t first, std::int64_t n, F f) const {
    if (n <= 0) return;  // then axes may be of size 0
    if (rank == 0) {
      f(offset, std::int64_t{1});
      return;
    }
    std::array<std::int64_t, max_rank> at{};
    std::int64_t rest = first, place = offset;
    const auto last = static_cast<std::size_t>(rank - 1);
    for (std::size_t a = last + 1; a-- > 0;) {
      at[a] = rest % sizes[a];
      rest /= sizes[a];
      place += at[a] * strides[a];
    }
    std::int64_t run = std::min(n, sizes[last] - at[last]);
    f(place, run);
    if (n == run) return;
    place -= at[last] * strides[last];
    const std::size_t up = last - 1;
    std::int64_t left = sizes[up] - at[up] - 1;  // runs before one along a further axis
    while ((n -= run) > 0) {
      place += strides[up];
      if (left-- == 0) {
        place -= sizes[up] * strides[up];
        left = sizes[up] - 1;
        for (std::size_t a = up; a-- > 0;) {
          place += strides[a];
          if (++at[a] < sizes[a]) break;
          place -= at[a] * strides[a];
          at[a] = 0;
        }
      }
      run = std::min(n, sizes[last]);
      f(place, run);
    }
  }

  /// Copies elements first .. first+n-1, in row-major order, from `base` to dense `out`.
  template <class T>
  void load(T* out, const T* base, std::int64_t first, std::int64_t n) const {
    const std::int64_t stride = step();
    runs(first, n, [&](std::int64_t at, std::int64_t run) {
      const T* from = base + at;
      if (stride == 1) std::memcpy(out, from, static_cast<std::size_t>(run) * sizeof(T));
      else if (stride == 0)
        std::fill_n(out, run, T(*from));  // a copy: `out` might be where it lies
      else if (stride == 2)
        for (std::int64_t i = 0; i < run; ++i) out[i] = from[i * 2];
      else
        for (std::int64_t i = 0; i < run; ++i) out[i] = from[i * stride];
      out += run;
    });
  }

  /// The reverse: from dense `in` to where the elements lie.
  template <class T>
  void store(const T* in, T* base, std::int64_t first, std::int64_t n) const {
    const std::int64_t stride = step();
    runs(first, n, [&](std::int64_t at, std::int64_t run) {
      T* to = base + at;
      if (stride == 1) std::memcpy(to, in, static_cast<std::size_t>(run) * sizeof(T));
      else
        for (std::int64_t i = 0; i < run; ++i) to[i * stride] = in[i];
      in += run;
    });
  }

 private:
  void append(std::int64_t size, std::int64_t stride) {
    if (size == 1) return;
    const auto r = static_cast<std::size_t>(rank);
    if (rank > 0 && strides[r - 1] == stride * size) {
      sizes[r - 1] *= size;
      strides[r - 1] = stride;
      return;
    }
    sizes[r] = size;
    strides[r] = stride;
    ++rank;
  }
};

}  // namespace blockgrad
