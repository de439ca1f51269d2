// Max pooling for AVX2.
#include "backends/cpu/pool_rows.h"

#if defined(__x86_64__)
namespace blockgrad::detail {

extern const PoolTable pool_avx2;
constinit const PoolTable pool_avx2 = pool_kernels();

}  // namespace blockgrad::detail

#endif
