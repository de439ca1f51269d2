#pragma once
// Attention and its gradient on a CUDA device, by tiles and without a matrix of scores.

#include "backends/cuda/cuda_work.h"

namespace blockgrad {

CudaWork attention_kernel(const CudaRequest& request);

/// One launch for dq and one for dk and dv, which makes the scores again.
CudaWork attention_gradient_kernel(const CudaRequest& request);

}  // namespace blockgrad
