// Flows for AVX-512.
#include "backends/cpu/flow_kernels.h"

#if defined(__x86_64__)
namespace blockgrad::detail {

extern const FlowTable flow_avx512;
constinit const FlowTable flow_avx512 = flow_kernels();

}  // namespace blockgrad::detail

#endif
