// Tape kernels for AVX-512.
#include "backends/cpu/tape_kernels.h"

#if defined(__x86_64__)
namespace blockgrad::detail {

extern const TapeTable tape_avx512;
constinit const TapeTable tape_avx512 = tape_kernels();

}  // namespace blockgrad::detail

#endif
