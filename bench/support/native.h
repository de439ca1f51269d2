#pragma once
// What this very processor can do: Eigen's products and the rate of multiply-adds. Their source is
// the only one that is compiled with -march=native.

#include <cstdint>
#include <string>

namespace bench {

/// C[m, n] = A[m, k] * B[k, n] with Eigen on one thread; all dense and row-major, A or B stored
/// transposed if asked.
template <class T>
void eigen_product(std::int64_t m, std::int64_t n, std::int64_t k, bool transpose_a,
                   bool transpose_b, const T* a, const T* b, T* c);

/// Floating-point operations per second of independent fused multiply-adds in registers, two for
/// each; takes about a millisecond.
template <class T>
double peak_flops();

/// "3.4.0, AVX2 with FMA": Eigen's version and what it was compiled for.
std::string eigen_build();

}  // namespace bench
