// Asks the CUDA runtime, which is linked in and finds the driver by itself.
#include <cuda_runtime_api.h>

#include "backends/cuda/machine/errors.h"
#include "backends/cuda/machine/findings.h"
#include "backends/cuda/machine/image.h"

namespace blockgrad {

namespace {

/// False, and a finding, if the call failed. An error is not left behind for the next call.
bool went_well(CudaFindings& findings, cudaError_t error) {
  if (error == cudaSuccess) return true;
  findings.error = error;
  findings.error_text = cuda_error_text(error);
  forget_cuda_error();
  return false;
}

}  // namespace

CudaFindings look_for_cuda() {
  CudaFindings found;
  if (!went_well(found, cudaRuntimeGetVersion(&found.runtime_version))) return found;
  if (!went_well(found, cudaDriverGetVersion(&found.driver_version))) return found;
  if (!went_well(found, cudaGetDeviceCount(&found.device_count)) || found.device_count == 0)
    return found;
  cudaDeviceProp device{};
  if (!went_well(found, cudaGetDeviceProperties(&device, 0))) return found;
  found.name = device.name;
  found.processors = device.multiProcessorCount;
  found.memory_bytes = static_cast<std::int64_t>(device.totalGlobalMem);
  found.capability = 10 * device.major + device.minor;
  if (found.capability < least_capability) return found;
  found.has_code = went_well(found, static_cast<cudaError_t>(load_kernel_image()));
  return found;
}

}  // namespace blockgrad
