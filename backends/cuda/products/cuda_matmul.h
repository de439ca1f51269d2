#pragma once
// MatMul on CUDA. Nothing here needs CUDA.

#include "backends/cuda/products/cuda_products.h"

namespace blockgrad {

/// One product for all matrices of the batch; operands are read where they lie. The cut is in
/// `why`. Order of sums: one chain of fused multiply-adds in ascending k from 0, the CPU's, or that
/// of each slice, then their sums in order.
CudaWork matmul_kernel(const CudaRequest& request);

/// A MatMul as a product of factors.
struct CudaMatMul {
  CudaProduct product;
  CudaFactor a, b, c;
  DType result = DType::f32;  // of c

  LtFit fit() const { return lt_problem(product, a, b, c, result); }
};
CudaMatMul cuda_matmul(const CudaRequest& request);

/// The launches of it by this choice; by our own kernel where it names no call.
CudaWork matmul_work(const CudaRequest& request, const CudaMatMul& of, const ProductChoice& choice);

}  // namespace blockgrad
