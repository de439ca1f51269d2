#pragma once
// Kernels over lines: Reduce and RowProgram share everything, ReduceGroup takes many whole values
// at once. Sums are in an order that depends on shapes and layouts alone.

#include "backends/cuda/cuda_work.h"

namespace blockgrad {

CudaWork row_kernel(const CudaRequest& request);
CudaWork reduce_kernel(const CudaRequest& request);
CudaWork reduce_group_kernel(const CudaRequest& request);

}  // namespace blockgrad
