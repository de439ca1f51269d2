#pragma once
// RowUpdate on the CPU for rows of some vectors: its formula runs on each row where it lies, and so
// do the terms of what is added up for it.

#include "backends/kernel.h"
#include "graph/row_update.h"

namespace blockgrad {

/// Whether rows are long enough that calls for each take less time than copies of some together.
bool goes_by_lines(const KernelRequest& request);

Kernel row_update_by_lines(const KernelRequest& request);

}  // namespace blockgrad
