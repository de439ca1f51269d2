// Max pooling for any processor.
#include "backends/cpu/pool_rows.h"

namespace blockgrad::detail {

extern const PoolTable pool_portable;
constinit const PoolTable pool_portable = pool_kernels();

}  // namespace blockgrad::detail
