#pragma once
// What the caches of this machine hold, for kernels that choose how much they work on at a time.
// Only speed depends on it, no result.

#include <cstdint>

namespace blockgrad::detail {

/// Bytes of the second cache level of a core; 1 MiB where the system does not say.
std::int64_t second_cache_bytes();

}  // namespace blockgrad::detail
