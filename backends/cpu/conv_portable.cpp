// Convolution kernels for any processor; the reference for the bits of all others.
#include "backends/cpu/conv_micro_kernel.h"

namespace blockgrad::detail {

extern const ConvTable conv_portable;
constinit const ConvTable conv_portable{conv_kernels<Portable<float>, 16, 4, 4, 3>(),
                                        conv_kernels<Portable<double>, 16, 4, 4, 3>()};

}  // namespace blockgrad::detail
