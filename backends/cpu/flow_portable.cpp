// Flows without special instructions; on aarch64 these are the NEON kernels.
#include "backends/cpu/flow_kernels.h"

namespace blockgrad::detail {

extern const FlowTable flow_portable;
constinit const FlowTable flow_portable = flow_kernels();

}  // namespace blockgrad::detail
