#include "backends/cuda/index/thrust_on_cuda.h"

#include "backends/cuda/index/thrust_calls.cuh"

namespace blockgrad {

const ThrustCalls* thrust_on_cuda() { return &thrust_calls; }

}  // namespace blockgrad
