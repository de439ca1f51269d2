#include "backends/cpu/flow.h"

namespace blockgrad {

namespace detail {
extern const FlowTable flow_avx2, flow_avx512;
}

const FlowTable* flow_table(Isa isa) {
  switch (isa) {
    case Isa::portable:
    case Isa::neon: return nullptr;
#if defined(__x86_64__)
    case Isa::avx2: return &detail::flow_avx2;
    case Isa::avx512: return &detail::flow_avx512;
#else
    case Isa::avx2:
    case Isa::avx512: break;
#endif
  }
  return nullptr;
}

}  // namespace blockgrad
