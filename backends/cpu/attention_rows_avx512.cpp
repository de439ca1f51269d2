// Rows of attention for AVX-512.
#include "backends/cpu/attention_row_kernels.h"

#if defined(__x86_64__)
namespace blockgrad::detail {

extern const AttentionTable attention_avx512;
constinit const AttentionTable attention_avx512 = attention_kernels();

}  // namespace blockgrad::detail

#endif
