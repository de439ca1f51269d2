#pragma once
// What a step says of data that is wrong, on every device.

#include <cstdint>
#include <string>

#include "graph/graph.h"

namespace blockgrad {

/// "index" 9 at row-major position 4 "is out of range [0, 3)".
struct WrongValue {
  std::string_view thing;
  Text value;
  std::int64_t position = 0;
  std::string_view rule;
};

/// Throws Error: "take (e.cpp:18): index 9 at position [1, 1] is out of range [0, 3);
/// step 0 of this run updated nothing".
[[noreturn]] void fail_step(const Graph& graph, std::int32_t node, const WrongValue& wrong,
                            std::int64_t step);

}  // namespace blockgrad
