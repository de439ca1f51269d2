// Convolution kernels for AVX-512: 32 registers, 24 of them for sums.
#include "backends/cpu/conv_micro_kernel.h"

#if defined(__x86_64__)

namespace blockgrad::detail {

extern const ConvTable conv_avx512;
constinit const ConvTable conv_avx512{conv_kernels<Avx512F32, 24, 8, 8, 3>(),
                                      conv_kernels<Avx512F64, 24, 8, 8, 3>()};

}  // namespace blockgrad::detail

#endif
