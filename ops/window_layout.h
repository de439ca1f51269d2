#pragma once
// Where sliding windows lie.

#include <span>

#include "blockgrad/graph/shape.h"

namespace blockgrad::detail {

/// The layout of the windows over the last axes of a dense value: [.., H', W', h, w]. Throws Error
/// as `windows` does.
Layout window_layout(const Shape& shape, std::span<const std::int64_t> sizes,
                     std::span<const std::int64_t> strides, std::span<const std::int64_t> dilation);

}  // namespace blockgrad::detail
