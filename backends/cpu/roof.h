#pragma once
// What this machine can do at most: fused multiply-adds per second, and bytes per second of a copy,
// which depends on how much is copied. Measured, in some 50 ms.

#include <cstdint>
#include <utility>
#include <vector>

#include "backends/cpu/isa.h"
#include "blockgrad/graph/dtype.h"
#include "blockgrad/graph/op.h"

namespace blockgrad {

struct Roof {
  double flops32 = 0, flops64 = 0;                          // per second, all threads
  std::vector<std::pair<double, double>> bytes_per_second;  // of copies that move so many bytes

  /// The least time for this work.
  double seconds(const Cost& cost, DType dtype) const;
};

Roof measure_roof(Isa isa, int threads);

}  // namespace blockgrad
