// In a build without CUDA there is none.
#include "backends/cuda/machine/cuda_device.h"
#include "backends/cuda/machine/findings.h"
#include "blockgrad/graph/error.h"

namespace blockgrad {

std::shared_ptr<CudaRuntime> cuda_device() {
  throw DeviceError("cuda cannot be used: " + why_unusable(cuda_findings()));
}

}  // namespace blockgrad
