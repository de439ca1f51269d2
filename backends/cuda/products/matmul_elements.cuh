#pragma once
// Rung 1 of the ladder: one thread computes one element of C. Every operand is read from global
// memory k times m n times; the caches are all that helps.

#include "backends/cuda/products/matmul_product.cuh"

namespace blockgrad::gpu {

/// One element of C. Order of the sum: one chain of fused multiply-adds in ascending k, from 0.
template <class T, class A, class B, class C, class Epilogue>
__device__ __forceinline__ void multiply_element(const Product<T, T, A, B, C>& p,
                                                 const Epilogue& epilogue, long batch, long row,
                                                 long column) {
  if (row >= p.m || column >= p.n) return;
  T sum = 0;
  for (long k = 0; k < p.k; ++k)
    sum = math::fma(p.a.at(batch, row, k), p.b.at(batch, k, column), sum);
  put_element(p, epilogue, batch, row, column, sum);
}

/// Grid: x over columns, y over rows, z over the batch, of blocks of any shape; k_splits is 1.
template <class T, class Epilogue>
__global__ void matmul_elements(Product<T> p, Epilogue epilogue) {
  const long column = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x;
  const long row = static_cast<long>(blockIdx.y) * blockDim.y + threadIdx.y;
  multiply_element(p, epilogue, blockIdx.z, row, column);
}

/// Grid: see place_of, of Block::m * Block::n threads; k_splits is 1.
template <class Block, class P, class Epilogue>
__device__ __forceinline__ void multiply_elements(const P& p, const Epilogue& epilogue) {
  const Place at = place_of_block<Block>(p);
  const int thread = static_cast<int>(threadIdx.x);
  multiply_element(p, epilogue, at.batch, at.row + thread / Block::n,
                   at.column + thread % Block::n);
}

}  // namespace blockgrad::gpu
