#pragma once
// A product of dense operands as cuBLASLt takes it.

#include "backends/cuda/products/lt_problem.h"

namespace test_support {

inline blockgrad::LtProblem dense_problem(const blockgrad::CudaProduct& product) {
  using blockgrad::CudaSide;
  const auto factor = [&](CudaSide side, std::int64_t rows, std::int64_t columns) {
    return blockgrad::cuda_matrix(side, {}, product.dtype,
                                  blockgrad::Layout::dense({rows, columns}));
  };
  return blockgrad::lt_problem(product, factor(CudaSide::a, product.m, product.k),
                               factor(CudaSide::b, product.k, product.n),
                               factor(CudaSide::c, product.m, product.n), product.dtype)
      .problem;
}

}  // namespace test_support
