// Tape kernels for AVX2 with FMA.
#include "backends/cpu/tape_kernels.h"

#if defined(__x86_64__)
namespace blockgrad::detail {

extern const TapeTable tape_avx2;
constinit const TapeTable tape_avx2 = tape_kernels();

}  // namespace blockgrad::detail

#endif
