#pragma once
// What one instruction set offers to max pooling: whole images, channel after channel.

#include <cstdint>

#include "backends/cpu/isa.h"

namespace blockgrad::detail {

/// A window along one axis.
struct PoolAxis {
  std::int64_t x = 0, y = 0;  // sizes of the image and of the result
  std::int64_t size = 0, stride = 0, padding = 0;
};

struct PoolShape {
  PoolAxis rows, columns;
};

/// Results of a row are made in multiples of this many.
constexpr std::int64_t pool_lanes = 16;

/// Elements of scratch that the kernels use.
constexpr std::int64_t pool_scratch(const PoolShape& s) {
  const std::int64_t results = (s.columns.y + pool_lanes - 1) / pool_lanes * pool_lanes;
  const std::int64_t row = results * s.columns.stride + s.columns.size + s.columns.x;
  return 3 * results + row;
}

template <class T>
struct PoolKernels {
  /// y[n, i, j] = the largest element of window (i, j) of x[n], or a NaN of it, n < images.
  void (*largest)(const PoolShape& shape, std::int64_t images, const T* x, T* y,
                  T* scratch) = nullptr;
  /// dx[n] = the sum over windows of dy[n, i, j] at the first largest element of x[n] in the
  /// window, or the first NaN; 0 elsewhere. Where windows do not overlap dy is put there bit for
  /// bit.
  void (*to_largest)(const PoolShape& shape, std::int64_t images, const T* x, const T* dy, T* dx,
                     T* scratch) = nullptr;
};

struct PoolTable {
  PoolKernels<float> f32;
  PoolKernels<double> f64;

  template <class T>
  const PoolKernels<T>& of() const {
    if constexpr (sizeof(T) == sizeof(float)) return f32;
    else return f64;
  }
};

/// The kernels for a supported instruction set.
const PoolTable& pool_table(Isa isa);

}  // namespace blockgrad::detail
