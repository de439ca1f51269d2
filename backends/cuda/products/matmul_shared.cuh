#pragma once
// Rung 2 of the ladder: a block computes a tile of C and walks along k; at each step its threads
// fetch a tile of A and one of B into shared memory together, where each value is read `tile`
// times. Source: CUDA C++ Programming Guide, "Shared Memory".

#include "backends/cuda/products/matmul_product.cuh"
#include "backends/cuda/products/shared_memory.cuh"

namespace blockgrad::gpu {

template <class T, int tile>
struct SharedTiles {
  T a[tile][tile];
  T b[tile][tile];
};

/// Grid: x over columns, y over rows, z over the batch, of blocks of tile x tile threads; dynamic
/// shared memory: SharedTiles<T, tile>. Order of the sum: as in matmul_elements. Beyond k, A counts
/// as -0 and B as 0: their product, -0, changes no sum.
template <class T, int tile, class Epilogue>
__global__ void __launch_bounds__(tile* tile) matmul_shared(Product<T> p, Epilogue epilogue) {
  auto& shared = shared_memory<SharedTiles<T, tile>>();
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const long column = static_cast<long>(blockIdx.x) * tile + x;
  const long row = static_cast<long>(blockIdx.y) * tile + y;
  const long batch = blockIdx.z;
  T sum = 0;
  for (long k = 0; k < p.k; k += tile) {
    shared.a[y][x] = row < p.m && k + x < p.k ? p.a.at(batch, row, k + x) : -T(0);
    shared.b[y][x] = column < p.n && k + y < p.k ? p.b.at(batch, k + y, column) : T(0);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < tile; ++i) sum = math::fma(shared.a[y][i], shared.b[i][x], sum);
    __syncthreads();
  }
  if (row < p.m && column < p.n) p.c.at(batch, row, column) = epilogue(sum, batch, column);
}

}  // namespace blockgrad::gpu
