#pragma once
// The text that kernels over lines share: what threads gather of a line, and how they join it, in
// an order that depends on the number of threads alone.

#include <cstdint>
#include <string>
#include <string_view>

#include "blockgrad/graph/reduce.h"

namespace blockgrad {

/// To stand in front of kernels, behind the prelude.
std::string_view line_joins_text();

/// What a Reduce gathers, as that text names it: "Sum<float>", "Arg<int, true>".
struct LineGathering {
  std::string type;
  std::string number;  // of the values in it
  std::string none;    // its value for no elements
  std::int64_t bytes;  // of it
  bool picks_index;

  LineGathering(ReduceKind kind, DType in);
};

}  // namespace blockgrad
