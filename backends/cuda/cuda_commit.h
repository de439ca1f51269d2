#pragma once
// New values that are copied into storage at the end of a step, all in one launch.

#include "backends/cuda/cuda_work.h"

namespace blockgrad {

/// Value k goes from input k to output k, each aligned to 16 bytes. `guards` holds for each value
/// the input that is its guard, -1 where there is none. Nothing is copied where the step failed.
CudaLaunch cuda_commit(std::span<const Operand> values, std::span<const std::int32_t> guards);

}  // namespace blockgrad
