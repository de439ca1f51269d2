// Functions of small programs for AVX2 with FMA.
#include "backends/cpu/small_kernels.h"

#if defined(__x86_64__)
namespace blockgrad::detail {

extern const SmallTable small_avx2;
constinit const SmallTable small_avx2 = small_kernels();

}  // namespace blockgrad::detail

#endif
