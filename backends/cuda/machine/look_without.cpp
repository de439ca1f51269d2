// In a build without CUDA there is nobody to ask.
#include "backends/cuda/machine/findings.h"

namespace blockgrad {

CudaFindings look_for_cuda() { return {.not_built = BG_WHY_NO_CUDA}; }

}  // namespace blockgrad
