#include "backends/cuda/machine/cuda_event.h"

#include <cuda_runtime_api.h>

#include "backends/cuda/machine/cuda_owner.h"
#include "backends/cuda/machine/errors.h"

namespace blockgrad {

std::shared_ptr<CUevent_st> make_event(const std::shared_ptr<CudaCalls>& calls) {
  return cuda_owner<CUevent_st>(
      calls, "an event",
      [](cudaEvent_t* made) { return cudaEventCreateWithFlags(made, cudaEventDisableTiming); },
      [](cudaEvent_t event) { return cudaEventDestroy(event); });
}

void wait_for_event(CudaCalls& calls, CUevent_st* event) {
  bool is_past = true;
  calls.check(
      [&] {
        const cudaError_t error = cudaEventQuery(event);
        is_past = error != cudaErrorNotReady;
        return is_past ? error : cudaSuccess;
      },
      "a look at an event");
  if (is_past) return;
  forget_cuda_error();
  calls.check([&] { return cudaEventSynchronize(event); }, "a wait for an event");
}

}  // namespace blockgrad
