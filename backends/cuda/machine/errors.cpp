#include "backends/cuda/machine/errors.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

namespace blockgrad {

std::string cuda_error_text(int error) {
  const auto code = static_cast<cudaError_t>(error);
  return fmt::format("{}, {}", cudaGetErrorName(code), cudaGetErrorString(code));
}

bool ends_device(int error) {
  switch (error) {
    case cudaErrorCudartUnloading:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorContextIsDestroyed:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorTensorMemoryLeak:
    case cudaErrorMpsClientTerminated:
    case cudaErrorExternalDevice:
    case cudaErrorUnknown: return true;
    default: return false;
  }
}

void forget_cuda_error() { (void)cudaGetLastError(); }

}  // namespace blockgrad
