// Compiled with -march=native: Eigen at its best on this machine.
#include "support/gemm_peers.h"

#if defined(BG_WITH_EIGEN)

#include <Eigen/Core>

namespace bench {

namespace {

template <class T>
void product(const Product& p, const T* a, const T* b, T* c) {
  using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using Input = Eigen::Map<const Matrix>;
  Eigen::Map<Matrix> result(c, p.m, p.n);
  if (p.transpose_a && p.transpose_b) {
    result.noalias() = Input(a, p.k, p.m).transpose() * Input(b, p.n, p.k).transpose();
  } else if (p.transpose_a) {
    result.noalias() = Input(a, p.k, p.m).transpose() * Input(b, p.k, p.n);
  } else if (p.transpose_b) {
    result.noalias() = Input(a, p.m, p.k) * Input(b, p.n, p.k).transpose();
  } else {
    result.noalias() = Input(a, p.m, p.k) * Input(b, p.k, p.n);
  }
}

std::string build() {
#if defined(EIGEN_VECTORIZE_AVX512)
  const char* const sets = "AVX-512";
#elif defined(EIGEN_VECTORIZE_AVX2) && defined(EIGEN_VECTORIZE_FMA)
  const char* const sets = "AVX2 with FMA";
#else
  const char* const sets = Eigen::SimdInstructionSetsInUse();
#endif
  return std::to_string(EIGEN_WORLD_VERSION) + '.' + std::to_string(EIGEN_MAJOR_VERSION) + '.' +
         std::to_string(EIGEN_MINOR_VERSION) + ", " + sets;
}

}  // namespace

void add_eigen(std::vector<GemmPeer>& peers) {
  peers.push_back({"Eigen", build(), [](int threads) { Eigen::setNbThreads(threads); },
                   product<float>, product<double>});
}

}  // namespace bench

#else

void bench::add_eigen(std::vector<GemmPeer>&) {}

#endif
