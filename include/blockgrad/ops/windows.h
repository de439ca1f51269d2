#pragma once
// Sliding windows: what convolution and pooling read.

#include <cstdint>
#include <initializer_list>
#include <span>

#include "blockgrad/graph/op.h"

namespace blockgrad {

/// Every window over the last axes, one axis per size: [.., H, W] -> [.., H', W', h, w] with
/// y[.., i, j, p, q] = x[.., i stride + p dilation, j stride + q dilation] and
/// H' = (H - dilation (h - 1) - 1) / stride + 1, rounded down. A View: overlapping windows share
/// their elements, and the gradient adds them up. Strides and dilation not given are 1. Throws
/// Error if a window is larger than its axis, for numbers below 1, and for not one per size.
Expr windows(Arg x, std::span<const std::int64_t> sizes, std::span<const std::int64_t> strides = {},
             std::span<const std::int64_t> dilation = {});
Expr windows(Arg x, std::initializer_list<std::int64_t> sizes,
             std::initializer_list<std::int64_t> strides = {},
             std::initializer_list<std::int64_t> dilation = {});

}  // namespace blockgrad
