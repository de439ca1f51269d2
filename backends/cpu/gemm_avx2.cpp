// Matrix product kernels for AVX2 with FMA: sixteen registers, twelve of them for sums.
#include "backends/cpu/micro_kernel.h"

#if defined(__x86_64__)

namespace blockgrad::detail {

constinit const GemmKernels gemm_avx2{tile_kernels<Avx2F32, 12>(), tile_kernels<Avx2F64, 12>()};

}  // namespace blockgrad::detail

#endif
