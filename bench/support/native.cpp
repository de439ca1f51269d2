#include "support/native.h"

#include "backends/cpu/simd.h"

#include <Eigen/Core>

#include <chrono>
#include <type_traits>

namespace bench {

namespace {

#if defined(__AVX512F__)
using F32 = blockgrad::detail::Avx512F32;
using F64 = blockgrad::detail::Avx512F64;
#elif defined(__AVX2__) && defined(__FMA__)
using F32 = blockgrad::detail::Avx2F32;
using F64 = blockgrad::detail::Avx2F64;
#elif defined(__aarch64__)
using F32 = blockgrad::detail::NeonF32;
using F64 = blockgrad::detail::NeonF64;
#else
using F32 = blockgrad::detail::Portable<float>;
using F64 = blockgrad::detail::Portable<double>;
#endif

}  // namespace

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
  using V = std::conditional_t<sizeof(T) == sizeof(float), F32, F64>;
  constexpr int chains = 12;
  constexpr int steps = 40000;
  // Different starts, else the compiler keeps one chain for all.
  T start[chains][V::lanes];
  for (int i = 0; i < chains; ++i) {
    for (T& value : start[i]) value = static_cast<T>(i + 1);
  }
  const T factor = static_cast<T>(0.999);
  const T term = static_cast<T>(0.001);
  typename V::Reg sum[chains];
#pragma GCC unroll 12
  for (int i = 0; i < chains; ++i) sum[i] = V::load(start[i]);
  const typename V::Reg x = V::broadcast(&factor);
  const typename V::Reg y = V::broadcast(&term);
  const auto begin = std::chrono::steady_clock::now();
  for (int s = 0; s < steps; ++s) {
#pragma GCC unroll 12
    for (int i = 0; i < chains; ++i) sum[i] = V::fma(sum[i], x, y);
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  volatile T sink = 0;
#pragma GCC unroll 12
  for (int i = 0; i < chains; ++i) {
    V::store(start[i], sum[i]);
    sink = sink + start[i][0];
  }
  return 2.0 * V::lanes * chains * steps / seconds.count();
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
