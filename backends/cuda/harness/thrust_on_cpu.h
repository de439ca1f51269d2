#pragma once
// Thrust on the CPU: the calls that stand for Thrust and CUB on the harness.

#include "backends/cuda/index/thrust_calls.h"

namespace blockgrad::harness {

/// Null in a build without Thrust.
const ThrustCalls* thrust_on_cpu();

}  // namespace blockgrad::harness
