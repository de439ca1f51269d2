#pragma once
// Kernels over lines: Reduce and RowProgram share everything, ReduceGroup takes many whole values
// at once. Sums are in an order that depends on shapes and layouts alone.

#include "backends/cuda/cuda_work.h"
#include "graph/row_program.h"

namespace blockgrad {

CudaWork row_kernel(const CudaRequest& request);
CudaWork reduce_kernel(const CudaRequest& request);
CudaWork reduce_group_kernel(const CudaRequest& request);

/// A step of a program that reduces one of its values.
RowStep reduction_of(ReduceKind kind, RowValue of);

}  // namespace blockgrad
