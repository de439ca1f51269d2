#include "backends/cpu/flow.h"

#include "blockgrad/graph/error.h"

namespace blockgrad {

namespace detail {
extern const FlowTable flow_portable, flow_avx2, flow_avx512;
}

const FlowTable& flow_table(Isa isa) {
  switch (isa) {
    case Isa::portable:
    case Isa::neon: return detail::flow_portable;  // the compiler's own NEON code
#if defined(__x86_64__)
    case Isa::avx2: return detail::flow_avx2;
    case Isa::avx512: return detail::flow_avx512;
#else
    case Isa::avx2:
    case Isa::avx512: break;
#endif
  }
  fail_internal({"no flows for this instruction set"});
}

}  // namespace blockgrad
