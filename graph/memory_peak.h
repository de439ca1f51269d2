#pragma once
// Where a step needs the most memory, and for what: read from a plan, without running it.

#include <vector>

#include "graph/plan.h"

namespace blockgrad {

struct MemoryPeak {
  struct Live {
    Value value;
    std::int64_t bytes = 0;
  };
  std::int32_t step = -1;     // in Plan::steps; -1: no value lies in the arena
  std::int64_t bytes = 0;     // of all values alive then, in whole lines: Plan::live_bytes
  std::vector<Live> largest;  // the five largest of them, the largest first
};

MemoryPeak memory_peak(const Graph& graph, const Plan& plan);

}  // namespace blockgrad
