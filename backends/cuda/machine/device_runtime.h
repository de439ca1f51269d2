#pragma once
// The CUDA runtime's device 0 as a CudaRuntime: one stream, in whose order everything
// takes effect, and one for copies ahead of it.

#include <memory>

#include "backends/cuda/cuda_runtime.h"
#include "backends/cuda/index/thrust_calls.h"
#include "backends/cuda/machine/device_kernels.h"
#include "backends/cuda/machine/findings.h"

namespace blockgrad {

/// On the device that was found; `thrust` may be null. Throws DeviceError if a call fails. Several
/// threads may use it.
std::shared_ptr<CudaRuntime> open_cuda_runtime(const CudaFindings& found, CubinMaker make_cubin,
                                               const ThrustCalls* thrust = nullptr);

}  // namespace blockgrad
