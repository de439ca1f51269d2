// Matrix product kernels for 64-bit ARM: 32 registers, 24 of them for sums.
#include "backends/cpu/micro_kernel.h"

#if defined(__aarch64__)

namespace blockgrad::detail {

constinit const GemmKernels gemm_neon{tile_kernels<NeonF32, 24>(), tile_kernels<NeonF64, 24>()};

}  // namespace blockgrad::detail

#endif
