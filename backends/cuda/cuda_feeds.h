#pragma once
// Where the feeds of steps lie on a CUDA device: in sets of all feeds of a step, side by side.
// Steps that are started together have a set each, a group; while one group is read, the other is
// copied.

#include <cstdint>
#include <span>
#include <vector>

#include "backends/cuda/cuda_work.h"
#include "graph/plan.h"

namespace blockgrad {

/// How many steps of so many launches one start runs: many small ones, so that the host is not
/// waited for, but few enough that a recording stays small and a stop comes soon.
std::int64_t steps_together(std::int64_t launches);

struct CudaFeeds {
  std::vector<std::int64_t> at;  // of each feed in a set
  std::int64_t set_bytes = 0;    // of a set, from one to the next
  std::int64_t group = 1;        // sets of a group
  std::int64_t groups = 1;       // two, or one where memory counts for more than time

  std::int64_t sets() const { return group * groups; }
};

/// Of feeds of so many bytes each, for steps that are started `together`; 0: of one step alone.
CudaFeeds cuda_feeds(std::span<const std::int64_t> bytes, std::int64_t together);

/// Whether the argument is, or its table holds, an address of a feed.
bool is_fed(const CudaArg& arg, const Plan& plan, const PlanStep& step);
bool is_fed(std::span<const CudaArg> table, const Plan& plan, const PlanStep& step);

}  // namespace blockgrad
