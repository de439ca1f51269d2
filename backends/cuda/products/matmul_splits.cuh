#pragma once
// Rung 5 of the ladder: where k is long and C small, too few tiles would keep the device busy, so
// slices of k are summed apart (k_splits of any kernel that places blocks by place_of_block) and
// joined here. No atomics: the bits depend on the shape and the cut alone.

#include "backends/cuda/products/matmul_product.cuh"

namespace blockgrad::gpu {

/// c = epilogue(((s_0 + s_1) + s_2) + ...), rounded once, with s_i, the sums of slice i, at `sums`,
/// dense [batch, k_splits, m, n]. Grid: a line of blocks of any size, a thread an element.
template <class P, class T, class Epilogue>
__device__ __forceinline__ void add_splits(const P& p, const T* sums, long batches,
                                           const Epilogue& epilogue) {
  const long size = p.m * p.n;
  const long i = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= batches * size) return;
  const long batch = i / size, element = i % size;
  const T* const from = sums + batch * p.k_splits * size + element;
  T sum = from[0];
  for (int slice = 1; slice < p.k_splits; ++slice) sum += from[slice * size];
  put_element(p, epilogue, batch, element / p.n, element % p.n, sum);
}

template <class T, class Epilogue>
__global__ void join_splits(Product<T> p, const T* sums, long batches, Epilogue epilogue) {
  add_splits(p, sums, batches, epilogue);
}

}  // namespace blockgrad::gpu
