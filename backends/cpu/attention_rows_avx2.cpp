// Rows of attention for AVX2.
#include "backends/cpu/attention_row_kernels.h"

#if defined(__x86_64__)
namespace blockgrad::detail {

extern const AttentionTable attention_avx2;
constinit const AttentionTable attention_avx2 = attention_kernels();

}  // namespace blockgrad::detail

#endif
