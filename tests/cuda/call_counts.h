#pragma once
// Counts what this program asks of the CUDA runtime, which the linker lets it see: every call of
// these functions, from the library too.

#include <cstdint>

namespace test_support {

struct CallCounts {
  std::int64_t allocations = 0;  // of memory on the device or pinned, and their ends
  std::int64_t waits = 0;        // for the device, a stream or an event
};

/// Since the start of the process.
CallCounts call_counts();

}  // namespace test_support
