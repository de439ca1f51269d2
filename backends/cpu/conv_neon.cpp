// Convolution kernels for 64-bit ARM: 32 registers, 24 of them for sums.
#include "backends/cpu/conv_micro_kernel.h"

#if defined(__aarch64__)

namespace blockgrad::detail {

extern const ConvTable conv_neon;
constinit const ConvTable conv_neon{conv_kernels<NeonF32, 24, 8, 8, 3>(),
                                    conv_kernels<NeonF64, 24, 8, 8, 3>()};

}  // namespace blockgrad::detail

#endif
