#pragma once
// The sequence in which calls of a small program are done.

#include <cstddef>
#include <span>
#include <vector>

#include "backends/cpu/small_table.h"

namespace blockgrad {

/// The numbers of these calls in a sequence that gives every one the operands it has in the order
/// given: what reads a value right behind the step that makes it where that may be, as it is in a
/// register then, and first of all what most others wait for. Functions stay where they are.
std::vector<std::size_t> sequence_of(std::span<const SmallCall> calls);

}  // namespace blockgrad
