#pragma once
// Kernels that users add by cuda_kernels().add.

#include "backends/cuda/cuda_work.h"

namespace blockgrad {

/// Null if no user has added a kernel for the op.
CudaMaker cuda_user_maker(const Op& op);

}  // namespace blockgrad
