#pragma once
// How often this process asks for memory.

#include <cstdint>

namespace bench {

/// Blocks asked for so far with malloc and its kin, in all threads; -1 where the C library or a
/// sanitizer does not let them be counted.
std::int64_t heap_allocations();

/// Pages that this process touched for the first time, or that came back from disk.
std::int64_t page_faults();

}  // namespace bench
