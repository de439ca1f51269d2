// Matrix product kernels for any processor; the reference for the bits of all others.
#include "backends/cpu/micro_kernel.h"

namespace blockgrad::detail {

constinit const GemmKernels gemm_portable{tile_kernels<Portable<float>, 16>(),
                                          tile_kernels<Portable<double>, 16>()};

}  // namespace blockgrad::detail
