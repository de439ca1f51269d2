#pragma once
// Where the values between the steps of a row program lie in its scratch.

#include "backends/cpu/row_tape.h"

namespace blockgrad {

/// Places of all slots of a tape that knows its blocks, and the scratch they take.
void lay_out_slots(RowTape& tape);

}  // namespace blockgrad
