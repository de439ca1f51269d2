#pragma once
// Scan on a CUDA device.

#include "backends/cuda/cuda_work.h"

namespace blockgrad {

/// Running sums along an axis, in the CPU's order.
CudaWork scan_kernel(const CudaRequest& request);

}  // namespace blockgrad
