#include "backends/cpu/attention_rows.h"

#include "blockgrad/graph/error.h"

namespace blockgrad {

namespace detail {
extern const AttentionTable attention_portable, attention_avx2, attention_avx512;
}

const AttentionTable& attention_table(Isa isa) {
  switch (isa) {
    case Isa::portable:
    case Isa::neon: return detail::attention_portable;  // the compiler's own NEON code
#if defined(__x86_64__)
    case Isa::avx2: return detail::attention_avx2;
    case Isa::avx512: return detail::attention_avx512;
#else
    case Isa::avx2:
    case Isa::avx512: break;
#endif
  }
  fail_internal({"no attention kernels for this instruction set"});
}

}  // namespace blockgrad
