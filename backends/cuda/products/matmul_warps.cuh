#pragma once
// Rung 4 of the ladder: the tile of a block is dealt to warps, that of a warp to its 8 x 4 lanes in
// pieces of 16 by 16 bytes, so that every read of shared memory is 16 bytes wide and free of bank
// conflicts. Shared memory holds two steps along k: while one is multiplied the next one is under
// way, and one barrier a step is enough.
//
//   grid -> block tile (m, n, k) -> warp tile (m, n) -> thread tile (pieces of a lane)
//
// Source of the split: Thakkar, Kerr et al., CUTLASS, "Efficient GEMM in CUDA".

#include "backends/cuda/products/matmul_panel.cuh"
#include "backends/cuda/products/shared_memory.cuh"

namespace blockgrad::gpu {

/// The two halves of the buffer.
template <class T, class Block>
struct TwoPanels {
  SharedPanel<T, Block::m, Block::k> a[2];
  SharedPanel<T, Block::n, Block::k> b[2];
};

template <class Block, class Warp>
inline constexpr int warps_of = Block::m / Warp::m * (Block::n / Warp::n);

/// What one thread sums: pieces of pack x pack elements, 8 lanes apart in m and 4 in n.
template <class T, class Warp>
struct ThreadTile {
  static constexpr int pack = Pack<T>::size;
  static constexpr int pieces_m = Warp::m / (8 * pack), pieces_n = Warp::n / (4 * pack);
  static_assert(pieces_m * 8 * pack == Warp::m && pieces_n * 4 * pack == Warp::n);

  T sums[pieces_m][pieces_n][pack][pack] = {};

  /// Adds the products of one k: `column` and `row` are the lane's first values of A and B.
  __device__ __forceinline__ void add(const T* column, const T* row) {
    Pack<T> a[pieces_m], b[pieces_n];
#pragma unroll
    for (int m = 0; m < pieces_m; ++m)
      a[m] = *reinterpret_cast<const Pack<T>*>(column + m * 8 * pack);
#pragma unroll
    for (int n = 0; n < pieces_n; ++n) b[n] = *reinterpret_cast<const Pack<T>*>(row + n * 4 * pack);
#pragma unroll
    for (int m = 0; m < pieces_m; ++m)
#pragma unroll
      for (int n = 0; n < pieces_n; ++n)
#pragma unroll
        for (int i = 0; i < pack; ++i)
#pragma unroll
          for (int j = 0; j < pack; ++j)
            sums[m][n][i][j] = math::fma(a[m].value[i], b[n].value[j], sums[m][n][i][j]);
  }
};

/// Grid: see place_of, of 32 warps_of<Block, Warp> threads; dynamic shared memory:
/// TwoPanels<T, Block>. Order of the sum: as in matmul_registers.
template <class Block, class Warp, Reads reads_a, Reads reads_b, class T, class A, class B, class C,
          class Epilogue>
__device__ __forceinline__ void multiply_warps(const Product<T, T, A, B, C>& p,
                                               const Epilogue& epilogue) {
  constexpr int threads = 32 * warps_of<Block, Warp>, pack = Pack<T>::size;
  auto& shared = shared_memory<TwoPanels<T, Block>>();

  // Grid to block: a tile of C, and a slice of k.
  const Place at = place_of_block<Block>(p);
  const long k_end = end_of_slice(p, at);
  const auto a = panel_of_a(p, at, k_end);
  const auto b = panel_of_b(p, at, k_end);

  // Block to warp to lane: where this thread's first piece begins in the tile.
  const int warp_at = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int m = warp_at / (Block::n / Warp::n) * Warp::m + lane / 4 * pack;
  const int n = warp_at % (Block::n / Warp::n) * Warp::n + lane % 4 * pack;

  const long k_begin = at.slice * p.k_slice;
  ThreadTile<T, Warp> tile;
  auto share_a = share_of<Block::m, Block::k, threads, reads_a>(a, k_begin);
  auto share_b = share_of<Block::n, Block::k, threads, reads_b>(b, k_begin);
  const auto fetch = [&] {
    share_a.fetch(a, -T(0));
    share_b.fetch(b, T(0));
  };
  const auto store = [&](int half) {
    share_a.store(shared.a[half]);
    share_b.store(shared.b[half]);
  };
  fetch();
  store(0);
  __syncthreads();
  int half = 0;
  for (long k = k_begin; k < k_end; k += Block::k) {
    const bool is_last = k + Block::k >= k_end;
    if (!is_last) fetch();
#pragma unroll
    for (int i = 0; i < Block::k; ++i)
      tile.add(&shared.a[half].value[i][m], &shared.b[half].value[i][n]);
    if (!is_last) store(half ^ 1);
    __syncthreads();
    half ^= 1;
  }

#pragma unroll
  for (int i = 0; i < tile.pieces_m * pack; ++i)
#pragma unroll
    for (int j = 0; j < tile.pieces_n; ++j)
      put_pack(p, epilogue, at, at.row + m + i / pack * 8 * pack + i % pack,
               at.column + n + j * 4 * pack, tile.sums[i / pack][j][i % pack]);
}

template <class T, class Block, class Warp, Reads reads_a, Reads reads_b, class Epilogue>
__global__ void __launch_bounds__(32 * warps_of<Block, Warp>)
    matmul_warps(Product<T> p, Epilogue epilogue) {
  multiply_warps<Block, Warp, reads_a, reads_b>(p, epilogue);
}

}  // namespace blockgrad::gpu
