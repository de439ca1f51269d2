#pragma once
// The order of a row program whose lines are walked in chunks: passes over a line, each of which
// ends with what it reduces. Elements that a later pass reads are made again there if that is
// cheap, else they are kept for the whole line.

#include <vector>

#include "backends/cpu/row_draft.h"

namespace blockgrad {

/// Of each pass: instructions per line and spreads, those over elements, Reduces. An instruction
/// that is made again makes a value of its own. Lines in pieces are read from memory once only, so
/// that what needs two operands is rather kept than they are.
void order_passes(std::vector<RowDraftValue>& values, std::vector<RowDraftInstruction>& code,
                  bool in_pieces);

}  // namespace blockgrad
