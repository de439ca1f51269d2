#pragma once
// Rung 3 of the ladder: a thread computes several elements of C, so that a value read from shared
// memory is used that often: thread tile 8 x 1, then 8 x 8, which reads 16 values for 64 products.
//
//   grid -> block tile (m, n, k) -> thread tile (m, n)

#include "backends/cuda/products/matmul_panel.cuh"
#include "backends/cuda/products/shared_memory.cuh"

namespace blockgrad::gpu {

template <class T, class Block>
struct Panels {
  SharedPanel<T, Block::m, Block::k> a;
  SharedPanel<T, Block::n, Block::k> b;
};

template <class Block, class Thread>
inline constexpr int threads_of = Block::m / Thread::m * (Block::n / Thread::n);

/// Grid: see place_of, of threads_of<Block, Thread> threads; dynamic shared memory:
/// Panels<T, Block>. Order of the sum: one chain of fused multiply-adds in ascending k within each
/// slice, from 0. Beyond k, A counts as -0 and B as 0: their product, -0, changes no sum.
template <class T, class Block, class Thread, Reads reads_a, Reads reads_b, class Epilogue>
__global__ void __launch_bounds__(threads_of<Block, Thread>)
    matmul_registers(Product<T> p, Epilogue epilogue) {
  constexpr int threads = threads_of<Block, Thread>;
  auto& shared = shared_memory<Panels<T, Block>>();
  const Place at = place_of_block<Block>(p);
  const long k_end = end_of_slice(p, at);
  const Panel<T> a = panel_of_a(p, at, k_end), b = panel_of_b(p, at, k_end);
  const int thread_m = static_cast<int>(threadIdx.x) / (Block::n / Thread::n) * Thread::m;
  const int thread_n = static_cast<int>(threadIdx.x) % (Block::n / Thread::n) * Thread::n;

  T sums[Thread::m][Thread::n] = {};
  auto share_a = share_of<Block::m, Block::k, threads, reads_a>(a, at.slice * p.k_slice);
  auto share_b = share_of<Block::n, Block::k, threads, reads_b>(b, at.slice * p.k_slice);
  for (long k = at.slice * p.k_slice; k < k_end; k += Block::k) {
    share_a.fetch(a, -T(0));
    share_b.fetch(b, T(0));
    share_a.store(shared.a);
    share_b.store(shared.b);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < Block::k; ++i) {
      T column[Thread::m], row[Thread::n];
#pragma unroll
      for (int m = 0; m < Thread::m; ++m) column[m] = shared.a.value[i][thread_m + m];
#pragma unroll
      for (int n = 0; n < Thread::n; ++n) row[n] = shared.b.value[i][thread_n + n];
#pragma unroll
      for (int m = 0; m < Thread::m; ++m)
#pragma unroll
        for (int n = 0; n < Thread::n; ++n) sums[m][n] = math::fma(column[m], row[n], sums[m][n]);
    }
    __syncthreads();
  }

#pragma unroll
  for (int m = 0; m < Thread::m; ++m)
#pragma unroll
    for (int n = 0; n < Thread::n; ++n)
      if (at.row + thread_m + m < p.m && at.column + thread_n + n < p.n)
        p.c.at(at.batch * p.k_splits + at.slice, at.row + thread_m + m, at.column + thread_n + n) =
            epilogue(sums[m][n], at.batch, at.column + thread_n + n);
}

}  // namespace blockgrad::gpu
