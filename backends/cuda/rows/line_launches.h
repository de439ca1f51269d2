#pragma once
// How the lines of a program are shared among threads and launches. Nothing here needs CUDA.

#include <cstddef>
#include <span>
#include <string>

#include "backends/cuda/cuda_work.h"
#include "backends/cuda/rows/line_work.h"

namespace blockgrad {

/// Adds the launches of a program to what a node becomes, behind those that it has, and says how
/// its lines are cut. `in` are the node's operands from `first_in` on; its results begin at
/// `first_out`. Nothing is added where there are no lines.
std::string add_lines(CudaWork& made, const LineWork& work, std::span<const Operand> in,
                      std::size_t first_in = 0, std::size_t first_out = 0);

}  // namespace blockgrad
