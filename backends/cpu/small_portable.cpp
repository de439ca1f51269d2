// Functions of small programs for any processor.
#include "backends/cpu/small_kernels.h"

namespace blockgrad::detail {

extern const SmallTable small_portable;
constinit const SmallTable small_portable = small_kernels();

}  // namespace blockgrad::detail
