#include "backends/cuda/machine/cuda_device.h"

#include <fmt/format.h>

#include "backends/cuda/index/thrust_on_cuda.h"
#include "backends/cuda/machine/cubin_cache.h"
#include "backends/cuda/machine/device_runtime.h"
#include "backends/cuda/machine/findings.h"
#include "blockgrad/graph/error.h"

namespace blockgrad {

namespace {

/// Newer chips do not run the code for 9.0a, which alone has all of that chip's instructions.
std::string processor_of(const CudaFindings& found) {
  return fmt::format("sm_{}{}", found.capability, found.capability == 90 ? "a" : "");
}

std::shared_ptr<CudaRuntime> open_first() {
  const CudaFindings& found = cuda_findings();
  if (const std::string why = why_unusable(found); !why.empty())
    throw DeviceError("cuda cannot be used: " + why);
  return open_cuda_runtime(
      found,
      [processor = processor_of(found),
       cache = CubinCache(cubin_cache_folder())](const std::string& program) {
        return cubin_of(nvrtc(), {.text = program, .processor = processor}, cache);
      },
      thrust_on_cuda());
}

}  // namespace

std::shared_ptr<CudaRuntime> cuda_device() {
  // Never destroyed: libraries that were opened after it, whose handles it has, end before it
  // would.
  static const auto* const device = new std::shared_ptr<CudaRuntime>(open_first());
  return *device;
}

}  // namespace blockgrad
