#pragma once
// The GPU that programs run on.

#include <memory>

#include "backends/cuda/cuda_runtime.h"

namespace blockgrad {

/// The first device; one for the process, made by the first call. Throws DeviceError, saying why,
/// where none can be used.
std::shared_ptr<CudaRuntime> cuda_device();

}  // namespace blockgrad
