// Convolution kernels for AVX2 with FMA: sixteen registers, twelve of them for sums.
#include "backends/cpu/conv_micro_kernel.h"

#if defined(__x86_64__)

namespace blockgrad::detail {

extern const ConvTable conv_avx2;
constinit const ConvTable conv_avx2{conv_kernels<Avx2F32, 12, 4, 4, 3>(),
                                    conv_kernels<Avx2F64, 12, 4, 4, 3>()};

}  // namespace blockgrad::detail

#endif
