#pragma once
// The kernels of the ladder in a build with CUDA, as addresses for the runtime. Nothing here needs
// CUDA's headers.

#include <span>

#include "backends/cuda/products/cuda_tile.h"
#include "backends/cuda/products/matmul_layout.h"

namespace blockgrad {

/// Launched with a gpu::Product<T> (bf16: Product<bf16, bf16>) and one byte, the epilogue
/// gpu::Plain.
struct MatmulKernel {
  CudaKernel kernel = CudaKernel::elements;
  DType dtype = DType::f32;
  CudaMath math = CudaMath::exact;
  gpu::Tile block{};
  gpu::Reads reads_a = gpu::Reads::one_by_one;
  gpu::Reads reads_b = gpu::Reads::one_by_one;
  const void* address = nullptr;
};

std::span<const MatmulKernel> matmul_kernels();

/// Joins the slices of f32 and f64 products. Launched with a gpu::Product<T>, a const T*, a long
/// and one byte, see matmul_splits.cuh. Throws InternalError for other dtypes.
const void* join_splits_kernel(DType dtype);

}  // namespace blockgrad
