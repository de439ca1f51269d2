// Flows for AVX2 with FMA.
#include "backends/cpu/flow_kernels.h"

#if defined(__x86_64__)
namespace blockgrad::detail {

extern const FlowTable flow_avx2;
constinit const FlowTable flow_avx2 = flow_kernels();

}  // namespace blockgrad::detail

#endif
