// Matrix product kernels for AVX-512: 32 registers, 24 of them for sums.
#include "backends/cpu/micro_kernel.h"

#if defined(__x86_64__)

namespace blockgrad::detail {

constinit const GemmKernels gemm_avx512{tile_kernels<Avx512F32, 24>(),
                                        tile_kernels<Avx512F64, 24>()};

}  // namespace blockgrad::detail

#endif
