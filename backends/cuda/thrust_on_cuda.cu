#include "backends/cuda/thrust_on_cuda.h"

#include "backends/cuda/thrust_calls.cuh"

namespace blockgrad {

const ThrustCalls* thrust_on_cuda() { return &thrust_calls; }

}  // namespace blockgrad
