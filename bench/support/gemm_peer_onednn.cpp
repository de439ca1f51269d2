#include "support/gemm_peers.h"

#if defined(BG_WITH_ONEDNN)

#include <dnnl.h>
#include <omp.h>

namespace bench {

namespace {

const char* isa_of_build() {
  switch (static_cast<int>(dnnl_get_effective_cpu_isa())) {
    case dnnl_cpu_isa_avx2:
    case dnnl_cpu_isa_avx2_vnni: return "AVX2";
    case dnnl_cpu_isa_sse41: return "SSE4.1";
    case dnnl_cpu_isa_avx: return "AVX";
    default: return "AVX-512";
  }
}

void product(const Product& p, const float* a, const float* b, float* c) {
  dnnl_sgemm(p.transpose_a ? 'T' : 'N', p.transpose_b ? 'T' : 'N', p.m, p.n, p.k, 1.0F, a,
             p.transpose_a ? p.m : p.k, b, p.transpose_b ? p.k : p.n, 0.0F, c, p.n);
}

}  // namespace

void add_onednn(std::vector<GemmPeer>& peers) {
  const dnnl_version_t& v = *dnnl_version();
  peers.push_back({"oneDNN",
                   std::to_string(v.major) + '.' + std::to_string(v.minor) + '.' +
                       std::to_string(v.patch) + ", " + isa_of_build(),
                   [](int threads) { omp_set_num_threads(threads); }, product, nullptr});
}

}  // namespace bench

#else

void bench::add_onednn(std::vector<GemmPeer>&) {}

#endif
