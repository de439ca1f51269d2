#include "backends/cpu/gemm_kernels.h"
#include "backends/cpu/isa.h"
#include "blockgrad/graph/error.h"

namespace blockgrad::detail {

const GemmKernels& gemm_kernels(Isa isa) {
  switch (isa) {
    case Isa::portable: return gemm_portable;
#if defined(__x86_64__)
    case Isa::avx2: return gemm_avx2;
    case Isa::avx512: return gemm_avx512;
    case Isa::neon: break;
#elif defined(__aarch64__)
    case Isa::neon: return gemm_neon;
    case Isa::avx2:
    case Isa::avx512: break;
#else
    case Isa::avx2:
    case Isa::avx512:
    case Isa::neon: break;
#endif
  }
  fail_internal({"no matrix product kernels for ", isa_name(isa)});
}

}  // namespace blockgrad::detail
