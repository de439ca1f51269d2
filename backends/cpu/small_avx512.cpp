// Functions of small programs for AVX-512.
#include "backends/cpu/small_kernels.h"

#if defined(__x86_64__)
namespace blockgrad::detail {

extern const SmallTable small_avx512;
constinit const SmallTable small_avx512 = small_kernels();

}  // namespace blockgrad::detail

#endif
