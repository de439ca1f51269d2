#pragma once
// CUDA as a device of programs.

#include <functional>
#include <memory>

#include "backends/backend.h"
#include "backends/cuda/cuda_runtime.h"

namespace blockgrad {

/// Programs of this backend run on `runtime`. Products are tuned by the clock `now`, in seconds;
/// null: the machine's.
std::shared_ptr<const Backend> cuda_backend(std::shared_ptr<CudaRuntime> runtime,
                                            std::function<double()> now = nullptr);

}  // namespace blockgrad
