#include "support/gemm_peers.h"

#if defined(BG_WITH_OPENBLAS)

#include <cblas.h>

namespace bench {

namespace {

CBLAS_TRANSPOSE flag(bool is_transposed) { return is_transposed ? CblasTrans : CblasNoTrans; }

blasint size(std::int64_t n) { return static_cast<blasint>(n); }

void product32(const Product& p, const float* a, const float* b, float* c) {
  cblas_sgemm(CblasRowMajor, flag(p.transpose_a), flag(p.transpose_b), size(p.m), size(p.n),
              size(p.k), 1, a, size(p.transpose_a ? p.m : p.k), b, size(p.transpose_b ? p.k : p.n),
              0, c, size(p.n));
}

void product64(const Product& p, const double* a, const double* b, double* c) {
  cblas_dgemm(CblasRowMajor, flag(p.transpose_a), flag(p.transpose_b), size(p.m), size(p.n),
              size(p.k), 1, a, size(p.transpose_a ? p.m : p.k), b, size(p.transpose_b ? p.k : p.n),
              0, c, size(p.n));
}

}  // namespace

void add_openblas(std::vector<GemmPeer>& peers) {
  peers.push_back({"OpenBLAS", openblas_get_config(),
                   [](int threads) { openblas_set_num_threads(threads); }, product32, product64});
}

}  // namespace bench

#else

void bench::add_openblas(std::vector<GemmPeer>&) {}

#endif
