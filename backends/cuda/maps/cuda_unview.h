#pragma once
// Unview on a CUDA device. Parts that share no place are copied there. Of others every place looks
// up the elements that lie there, in their order, and adds them.

#include "backends/cuda/cuda_work.h"

namespace blockgrad {

CudaWork unview_kernel(const CudaRequest& request);

}  // namespace blockgrad
