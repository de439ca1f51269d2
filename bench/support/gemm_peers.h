#pragma once
// Other libraries' matrix products, as many as were found when this was configured.

#include <cstdint>
#include <string>
#include <vector>

namespace bench {

/// C[m, n] = A[m, k] * B[k, n], all dense and row-major, A or B stored transposed if asked.
struct Product {
  std::int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false;

  double flops() const {
    return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  }
};

struct GemmPeer {
  std::string name;   // "oneDNN"
  std::string build;  // "2.6.3, at most AVX-512"
  void (*set_threads)(int threads) = nullptr;
  // Null where the library has no such product.
  void (*f32)(const Product&, const float* a, const float* b, float* c) = nullptr;
  void (*f64)(const Product&, const double* a, const double* b, double* c) = nullptr;
};

// Each adds itself if it was found.
void add_onednn(std::vector<GemmPeer>& peers);
void add_openblas(std::vector<GemmPeer>& peers);
void add_eigen(std::vector<GemmPeer>& peers);

}  // namespace bench
