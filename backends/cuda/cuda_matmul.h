#pragma once
// MatMul on CUDA. Nothing here needs CUDA.

#include "backends/cuda/cuda_work.h"

namespace blockgrad {

/// One product for all matrices of the batch; operands are read where they lie. The cut is in
/// `why`. Order of sums: one chain of fused multiply-adds in ascending k from 0, the CPU's, or that
/// of each slice, then their sums in order.
CudaWork matmul_kernel(const CudaRequest& request);

}  // namespace blockgrad
