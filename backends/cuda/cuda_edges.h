#pragma once
// Which nodes of a step must wait for which on a CUDA device, as data: from the bytes that each
// reads and writes. Nodes that no edge orders may run at the same time.

#include <cstdint>
#include <span>
#include <vector>

#include "backends/cuda/cuda_work.h"
#include "graph/plan.h"

namespace blockgrad {

/// Bytes [first, last) of a memory.
struct CudaAccess {
  enum class Memory : std::uint8_t {
    arena,
    stored,   // storage `index`
    scratch,  // one for all nodes, so those that use it wait for each other
    state,    // the run's CudaState
    library,  // what calls of libraries hold beside their arguments
  };
  Memory memory = Memory::arena;
  std::int32_t index = 0;
  std::int64_t first = 0, last = 0;
  bool writes = false;
};
using CudaAccesses = std::vector<CudaAccess>;

/// What a node touches, whatever its launches are. Feeds and constants are only read.
CudaAccesses cuda_accesses(const Plan& plan, const PlanStep& step, const CudaWork& work);

/// For each node the earlier ones that it begins after.
using CudaOrder = std::vector<std::vector<std::int32_t>>;

/// Of nodes in the order of a serial run: two that touch the same bytes, of which one writes them,
/// keep it. Of up to 8192 nodes, no edge follows from others.
CudaOrder cuda_order(std::span<const CudaAccesses> nodes);

/// The most launches, of so many for each node, of which each waits for the one before.
std::int64_t longest_chain(const CudaOrder& order, std::span<const std::int64_t> launches);

}  // namespace blockgrad
