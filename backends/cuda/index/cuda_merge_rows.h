#pragma once
// Values added by number on a CUDA device: row numbers are sorted with their positions, then each
// row adds up its values in order. No atomics on values.

#include "backends/cuda/cuda_work.h"

namespace blockgrad {

CudaWork scatter_add_kernel(const CudaRequest& request);
CudaWork merge_rows_kernel(const CudaRequest& request);

}  // namespace blockgrad
