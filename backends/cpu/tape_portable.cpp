// Tape kernels without special instructions; on aarch64 these are the NEON kernels.
#include "backends/cpu/tape_kernels.h"

namespace blockgrad::detail {

extern const TapeTable tape_portable;
constinit const TapeTable tape_portable = tape_kernels();

}  // namespace blockgrad::detail
