#pragma once
// The sizes of a convolution, and which elements of one operand meet which of another.

#include <algorithm>
#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

#include "backends/cpu/conv_planes.h"
#include "blockgrad/ops/conv.h"

namespace blockgrad::detail {

/// A convolution along one axis, and the sizes of x, w and y.
struct ConvDimension {
  std::int64_t x, w, y, stride, padding, dilation;

  /// What y's elements meet in x.
  ConvAxis forward() const {
    ConvAxis axis{x, y, stride, {}};
    for (std::int64_t p = 0; p < w; ++p) axis.offsets.push_back(p * dilation - padding);
    return axis;
  }
  /// What the elements phase, phase + stride, .. of x meet in y, and at which taps.
  ConvAxis backward(std::int64_t phase, std::vector<std::int64_t>& taps) const {
    ConvAxis axis{y, x > phase ? (x - phase + stride - 1) / stride : 0, 1, {}};
    for (std::int64_t p = 0; p < w; ++p) {
      const std::int64_t at = phase + padding - p * dilation;
      if (at % stride != 0) continue;
      axis.offsets.push_back(at / stride);
      taps.push_back(p);
    }
    return axis;
  }
  /// The same with what all phases meet, in the order of the taps; where one meets nothing its tap
  /// is -1.
  ConvAxis backward_of_all(std::int64_t phase, std::vector<std::int64_t>& taps) const {
    ConvAxis axis = backward(phase, taps);
    std::vector<std::int64_t> all;
    for (std::int64_t i = 0; i < stride; ++i) {
      std::vector<std::int64_t> of_phase;
      const std::vector<std::int64_t> offsets = backward(i, of_phase).offsets;
      all.insert(all.end(), offsets.begin(), offsets.end());
    }
    std::sort(all.begin(), all.end(), std::greater<>());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    std::vector<std::int64_t> of_all;
    for (const std::int64_t offset : all) {
      const auto at = std::find(axis.offsets.begin(), axis.offsets.end(), offset);
      of_all.push_back(at == axis.offsets.end()
                           ? -1
                           : taps[static_cast<std::size_t>(at - axis.offsets.begin())]);
    }
    taps = std::move(of_all);
    axis.offsets = std::move(all);
    return axis;
  }
};

struct ConvSizes {
  std::int64_t images, groups;
  std::int64_t in, out;  // channels of a group
  ConvDimension rows, columns;

  ConvSizes(const Conv2dOptions& o, const Shape& x, const Shape& w, const Shape& y)
      : images(x[0]),
        groups(o.groups),
        in(w[1]),
        out(w[0] / o.groups),
        rows{x[2], w[2], y[2], o.stride.rows, o.padding.rows, o.dilation.rows},
        columns{x[3], w[3], y[3], o.stride.columns, o.padding.columns, o.dilation.columns} {}

  std::int64_t taps() const { return rows.w * columns.w; }
  std::int64_t x_channel() const { return rows.x * columns.x; }
  std::int64_t y_channel() const { return rows.y * columns.y; }
  double nanoseconds() const {
    return 20 + 2.0 * static_cast<double>(images * groups * in * out * taps()) *
                    static_cast<double>(y_channel()) / 100;
  }
};

}  // namespace blockgrad::detail
