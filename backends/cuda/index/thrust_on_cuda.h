#pragma once
// Thrust and CUB on a GPU.

#include "backends/cuda/index/thrust_calls.h"

namespace blockgrad {

/// Null in a build with CUDA that found neither.
const ThrustCalls* thrust_on_cuda();

}  // namespace blockgrad
