// Rows of attention for every processor.
#include "backends/cpu/attention_row_kernels.h"

namespace blockgrad::detail {

extern const AttentionTable attention_portable;
constinit const AttentionTable attention_portable = attention_kernels();

}  // namespace blockgrad::detail
