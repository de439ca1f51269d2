#pragma once
// The passes of a row tape as flows (flow.h): on four whole chunks at once, what lies between the
// loads and the stores of a pass stays in registers, and what it moves next is fetched evenly.

#include "backends/cpu/row_tape.h"

namespace blockgrad {

/// Of a tape whose chunks are found: a flow for each pass of sums, products and comparisons, unless
/// its elements lie in pieces that blocks do not fit.
void find_flows(RowTape& tape, const FlowTable& table);

/// Where four chunks are, in elements: the first in its line and in memory, from each to the next
/// in memory, and those to fetch meanwhile, or the same.
struct RowFlowChunks {
  std::int64_t in_line = 0, in_memory = 0, apart = 0, next = 0;
};

/// Sum s of chunk c is made[4 s + c], in elements of the flow.
void run_flow(const RowTape& tape, const RowFlow& flow, const KernelCall& call,
              const RowFlowChunks& chunks, void* made);

}  // namespace blockgrad
