#include "backends/cpu/cache_size.h"

#include <unistd.h>

namespace blockgrad::detail {

std::int64_t second_cache_bytes() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
  if (const long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE); bytes > 0) return bytes;
#endif
  return std::int64_t{1} << 20;
}

}  // namespace blockgrad::detail
