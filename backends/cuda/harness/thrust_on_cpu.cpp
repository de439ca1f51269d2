#include "backends/cuda/harness/thrust_on_cpu.h"

#include "backends/cuda/index/thrust_calls.cuh"

namespace blockgrad::harness {

const ThrustCalls* thrust_on_cpu() { return &thrust_calls; }

}  // namespace blockgrad::harness
