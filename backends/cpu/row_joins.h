#pragma once
// How what a Reduce makes of neighbouring stretches of a line becomes what it makes of both.

#include "backends/cpu/row_tape.h"
#include "blockgrad/graph/reduce.h"

namespace blockgrad {

/// argmax and argmin.
bool picks_index(ReduceKind kind);

/// Of values of the dtype that the Reduce makes. Null for positions, which are not joined.
RowJoin find_join(ReduceKind kind, DType made);

}  // namespace blockgrad
