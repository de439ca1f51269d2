#pragma once
// Values that differ from place to place, and from phase to phase.

#include <cmath>
#include <span>
#include <vector>

#include "blockgrad/graph/tensor.h"

namespace test_support {

inline blockgrad::Tensor waves(const blockgrad::Shape& shape, blockgrad::DType dtype,
                               double phase) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < shape.size(); ++i)
    values.push_back(std::sin(0.7 * static_cast<double>(i) + phase));
  return blockgrad::tensor(std::span<const double>(values), shape).astype(dtype);
}

}  // namespace test_support
