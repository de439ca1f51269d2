// Sweeps for AVX-512.
#include "backends/cpu/sweep_kernels.h"

#if defined(__x86_64__)
namespace blockgrad::detail {

extern const SweepTable sweep_avx512;
constinit const SweepTable sweep_avx512 = sweep_kernels();

}  // namespace blockgrad::detail

#endif
