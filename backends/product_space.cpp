#include "backends/product_space.h"

#include "blockgrad/ops/conv.h"
#include "blockgrad/ops/linalg.h"

namespace blockgrad {

std::optional<Shape> product_space(const Op& op, Types, Types out) {
  const Shape& shape = out[0].shape;
  // Channels of groups are matrices of a batch, places in an image are columns.
  const auto images = [&](std::int64_t groups) {
    return Shape{shape[0], groups, shape[1] / groups, shape[2] * shape[3]};
  };
  if (op.as<MatMul>()) return shape;
  if (const auto* conv = op.as<Conv2d>()) return images(conv->options.groups);
  if (const auto* conv = op.as<Conv2dInput>()) {
    const Pair stride = conv->options.stride;
    if (stride.rows != 1 || stride.columns != 1) return {};
    return images(conv->options.groups);
  }
  if (const auto* conv = op.as<Conv2dWeight>()) {
    const std::int64_t groups = conv->options.groups;
    return Shape{groups, shape[0] / groups, shape[1] * shape[2] * shape[3]};
  }
  return {};
}

}  // namespace blockgrad
