#pragma once
// CUDA as a device of programs.

#include <memory>

#include "backends/backend.h"
#include "backends/cuda/cuda_runtime.h"

namespace blockgrad {

/// Programs of this backend run on `runtime`.
std::shared_ptr<const Backend> cuda_backend(std::shared_ptr<CudaRuntime> runtime);

}  // namespace blockgrad
