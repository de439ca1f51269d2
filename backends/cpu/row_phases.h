#pragma once
// The phases of a row tape: which instructions run together on a chunk, and what each of them
// takes, stores and fetches.

#include "backends/cpu/row_tape.h"

namespace blockgrad {

/// From its instructions.
void find_phases(RowTape& tape);

/// Of a tape that goes in passes: what moves with the chunks, and which phases need it.
void find_chunks(RowTape& tape);

}  // namespace blockgrad
