// Sweeps without special instructions; on aarch64 these are the NEON kernels.
#include "backends/cpu/sweep_kernels.h"

namespace blockgrad::detail {

extern const SweepTable sweep_portable;
constinit const SweepTable sweep_portable = sweep_kernels();

}  // namespace blockgrad::detail
