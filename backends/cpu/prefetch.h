#pragma once
// Memory on its way to the cache before it is used.

#include <cstdint>

namespace blockgrad {

/// Fetches the lines of so many bytes; waits for none.
inline void prefetch_to_read(const void* from, std::int64_t bytes) {
  asm volatile("");  // g++ takes a call that only fetches for one without effect
  for (std::int64_t b = 0; b < bytes; b += 64)
    __builtin_prefetch(static_cast<const char*>(from) + b, 0);
}

/// The same, and takes them from other cores.
inline void prefetch_to_write(const void* from, std::int64_t bytes) {
  asm volatile("");  // as above
  for (std::int64_t b = 0; b < bytes; b += 64)
    __builtin_prefetch(static_cast<const char*>(from) + b, 1);
}

}  // namespace blockgrad
