#include "support/native.h"

#include <Eigen/Core>

#include <chrono>

namespace bench {

template <class T>
void eigen_product(std::int64_t m, std::int64_t n, std::int64_t k, bool transpose_a,
                   bool transpose_b, const T* a, const T* b, T* c) {
  using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using Input = Eigen::Map<const Matrix>;
  Eigen::Map<Matrix> result(c, m, n);
  if (transpose_a && transpose_b) {
    result.noalias() = Input(a, k, m).transpose() * Input(b, n, k).transpose();
  } else if (transpose_a) {
    result.noalias() = Input(a, k, m).transpose() * Input(b, k, n);
  } else if (transpose_b) {
    result.noalias() = Input(a, m, k) * Input(b, n, k).transpose();
  } else {
    result.noalias() = Input(a, m, k) * Input(b, k, n);
  }
}

template <class T>
double peak_flops() {
  using Packet = typename Eigen::internal::packet_traits<T>::type;
  constexpr int lanes = sizeof(Packet) / sizeof(T);
  constexpr int chains = 12;
  constexpr int steps = 40000;
  // Different starts, else the compiler keeps one chain for all; read, so that it knows none.
  volatile T first = 1;
  Packet sum[chains];
#pragma GCC unroll 12
  for (int i = 0; i < chains; ++i)
    sum[i] = Eigen::internal::pset1<Packet>(first + static_cast<T>(i));
  const Packet x = Eigen::internal::pset1<Packet>(first * static_cast<T>(0.999));
  const Packet y = Eigen::internal::pset1<Packet>(first * static_cast<T>(0.001));
  const auto begin = std::chrono::steady_clock::now();
  for (int s = 0; s < steps; ++s) {
#pragma GCC unroll 12
    for (int i = 0; i < chains; ++i) sum[i] = Eigen::internal::pmadd(sum[i], x, y);
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  volatile T sink = 0;
#pragma GCC unroll 12
  for (int i = 0; i < chains; ++i) sink = sink + Eigen::internal::predux(sum[i]);
  return 2.0 * lanes * chains * steps / seconds.count();
}

std::string eigen_build() {
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

template void eigen_product<float>(std::int64_t, std::int64_t, std::int64_t, bool, bool,
                                   const float*, const float*, float*);
template void eigen_product<double>(std::int64_t, std::int64_t, std::int64_t, bool, bool,
                                    const double*, const double*, double*);
template double peak_flops<float>();
template double peak_flops<double>();

}  // namespace bench
