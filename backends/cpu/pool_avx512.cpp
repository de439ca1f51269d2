// Max pooling for AVX-512.
#include "backends/cpu/pool_rows.h"

#if defined(__x86_64__)
namespace blockgrad::detail {

extern const PoolTable pool_avx512;
constinit const PoolTable pool_avx512 = pool_kernels();

}  // namespace blockgrad::detail

#endif
