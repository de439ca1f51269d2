// Sweeps for AVX2 with FMA.
#include "backends/cpu/sweep_kernels.h"

#if defined(__x86_64__)
namespace blockgrad::detail {

extern const SweepTable sweep_avx2;
constinit const SweepTable sweep_avx2 = sweep_kernels();

}  // namespace blockgrad::detail

#endif
