#pragma once
// The rung of tensor cores, for users who opt in to bf16 or TF32: a warp multiplies 16 x 16 by 16 x
// 8 elements with one instruction. Several stages of tiles are under way to shared memory at a time
// (cp.async); 16-byte chunks of a line lie permuted by its number, so that neither ldmatrix nor the
// copies meet bank conflicts.
//
//   grid -> block tile (m, n, k) -> warp tile (m, n) -> instruction (16, 8, 32 bytes of k)

#include "backends/cuda/matmul_panel.cuh"
#include "backends/cuda/shared_memory.cuh"
#include "backends/cuda/tensor_cores.cuh"

namespace blockgrad::gpu {

/// A panel in shared memory as it lies in global memory: lines along k, or along the width. What is
/// read one by one is laid along k.
template <class In, int width, int depth, Reads reads>
struct alignas(128) ChunkedPanel {
  static constexpr bool is_along_k = reads != Reads::along_width;
  static constexpr int pack = Pack<In>::size;
  static constexpr int lines = is_along_k ? width : depth;
  static constexpr int chunks = (is_along_k ? depth : width) / pack;  // of a line
  static_assert(chunks == 4 || chunks % 8 == 0, "the permutation knows these lines");

  Pack<In> value[lines][chunks];

  __device__ __forceinline__ Pack<In>* at(int line, int chunk) {
    return &value[line][chunk ^ (chunks == 4 ? line / 2 % 4 : line % 8)];
  }
  /// The one element of row (of A) or column (of B) w, and k.
  __device__ __forceinline__ In& element(int w, int k) {
    const int line = is_along_k ? w : k, place = is_along_k ? k : w;
    return at(line, place / pack)->value[place % pack];
  }

  /// Begins to fill this with the panel from step k on; what lies beyond it counts as 0.
  template <int threads>
  __device__ __forceinline__ void fetch(const Panel<In>& panel, long k) {
    static_assert(lines * chunks % threads == 0, "every thread moves the same");
#pragma unroll
    for (int i = 0; i < lines * chunks / threads; ++i) {
      const int chunk = (static_cast<int>(threadIdx.x) + i * threads) % chunks;
      const int line = (static_cast<int>(threadIdx.x) + i * threads) / chunks;
      const long w = is_along_k ? line : chunk * pack;
      const long at_k = k + (is_along_k ? chunk * pack : line);
      const In* const from = panel.data + w * panel.width_stride + at_k * panel.k_stride;
      const bool is_inside = w < panel.width && at_k < panel.k_end;
      const long left = is_along_k ? panel.k_end - at_k : panel.width - w;
      const int count = !is_inside ? 0 : left < pack ? static_cast<int>(left) : pack;
      if constexpr (reads == Reads::one_by_one) {
        Pack<In> values;
#pragma unroll
        for (int j = 0; j < pack; ++j)
          values.value[j] = j < count ? from[j * panel.k_stride] : In(0.0f);
        *at(line, chunk) = values;
      } else {
        copy_async(at(line, chunk), count > 0 ? from : panel.data,
                   count * static_cast<int>(sizeof(In)));
      }
    }
  }

  /// The lane's part of two by two 8 x 8 (TF32: 8 x 4) matrices from (w, k) on: x[i + 2 j] is that
  /// of the i-th along the width and the j-th along k.
  __device__ __forceinline__ void load(unsigned (&x)[4], int w, int k) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    if constexpr (is_along_k) {
      load_matrices(x, at(w + lane % 16, k / pack + lane / 16));
    } else if constexpr (sizeof(In) == 2) {
      load_transposed(x, at(k + lane % 8 + lane / 16 * 8, w / pack + lane / 8 % 2));
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        x[i] = math::bits(element(w + lane / 4 + i % 2 * 8, k + lane % 4 + i / 2 * 4));
    }
    if constexpr (sizeof(In) == 4) {
#pragma unroll
      for (int i = 0; i < 4; ++i) x[i] = to_tf32(x[i]);
    }
  }
};

/// One stage on its way.
template <class In, class Block, Reads reads_a, Reads reads_b>
struct Stage {
  ChunkedPanel<In, Block::m, Block::k, reads_a> a;
  ChunkedPanel<In, Block::n, Block::k, reads_b> b;
};

/// Puts two neighbours where they belong, at once where both are inside and lie so.
template <class In, class Out, class Epilogue>
__device__ __forceinline__ void put_pair(const Product<In, Out>& p, const Epilogue& epilogue,
                                         const Place& at, long row, long column, float x, float y) {
  if (row >= p.m || column >= p.n) return;
  struct alignas(2 * sizeof(Out)) Pair {
    Out x, y;
  };
  Out* const to = &p.c.at(at.batch * p.k_splits + at.slice, row, column);
  const Out first = static_cast<Out>(epilogue(x, at.batch, column));
  if (column + 1 == p.n) {
    to[0] = first;
    return;
  }
  const Out second = static_cast<Out>(epilogue(y, at.batch, column + 1));
  if (p.c_in_packs) {
    *reinterpret_cast<Pair*>(to) = {first, second};
  } else {
    to[0] = first;
    to[1] = second;
  }
}

/// Grid: see place_of, of 32 Block::m / Warp::m * (Block::n / Warp::n) threads; dynamic shared
/// memory: `stages` of Stage<...>. In is bf16, or float, which is rounded to TF32; sums are f32.
/// Order of the sum: steps of 32 bytes of k in ascending order; within a step the tensor core's.
template <class In, class Out, class Block, class Warp, int stages, Reads reads_a, Reads reads_b,
          class Epilogue>
__global__ void __launch_bounds__(32 * (Block::m / Warp::m) * (Block::n / Warp::n),
                                  sizeof(In) == 2 ? 2 : 1)
    matmul_mma(Product<In, Out> p, Epilogue epilogue) {
  constexpr int threads = 32 * (Block::m / Warp::m) * (Block::n / Warp::n);
  constexpr int tiles_m = Warp::m / 16, tiles_n = Warp::n / 8;
  constexpr int step = 32 / static_cast<int>(sizeof(In));  // k of one instruction
  struct Stages {
    Stage<In, Block, reads_a, reads_b> of[stages];
  };
  auto& shared = shared_memory<Stages>();

  // Grid to block: a tile of C, and a slice of k.
  const Place at = place_of_block<Block>(p);
  const long k_begin = at.slice * p.k_slice, k_end = end_of_slice(p, at);
  const Panel<In> a = panel_of_a(p, at, k_end), b = panel_of_b(p, at, k_end);

  // Block to warp.
  const int warp_at = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int m = warp_at / (Block::n / Warp::n) * Warp::m,
            n = warp_at % (Block::n / Warp::n) * Warp::n;

  float sums[tiles_m][tiles_n][4] = {};
  const auto fetch = [&](long k) {
    if (k < k_end) {
      auto& stage = shared.of[(k - k_begin) / Block::k % stages];
      stage.a.template fetch<threads>(a, k);
      stage.b.template fetch<threads>(b, k);
    }
    commit_copies();
  };
#pragma unroll
  for (int i = 0; i < stages - 1; ++i) fetch(k_begin + i * Block::k);
  for (long k = k_begin; k < k_end; k += Block::k) {
    wait_copies<stages - 2>();
    __syncthreads();  // this stage is there for all, and the one before it is read by all
    fetch(k + (stages - 1) * Block::k);
    auto& stage = shared.of[(k - k_begin) / Block::k % stages];
#pragma unroll
    for (int i = 0; i < Block::k; i += step) {
      unsigned from_a[tiles_m][4], from_b[tiles_n / 2][4];
#pragma unroll
      for (int x = 0; x < tiles_m; ++x) stage.a.load(from_a[x], m + 16 * x, i);
#pragma unroll
      for (int y = 0; y < tiles_n / 2; ++y) stage.b.load(from_b[y], n + 16 * y, i);
#pragma unroll
      for (int x = 0; x < tiles_m; ++x)
#pragma unroll
        for (int y = 0; y < tiles_n; ++y)
          multiply_add(In(0.0f), sums[x][y], from_a[x], from_b[y / 2][y % 2],
                       from_b[y / 2][y % 2 + 2]);
    }
  }
  wait_copies<0>();

  // A lane holds two neighbours in each of two rows of an instruction's C.
#pragma unroll
  for (int x = 0; x < tiles_m; ++x)
#pragma unroll
    for (int y = 0; y < tiles_n; ++y)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const long row = at.row + m + 16 * x + 8 * half + lane / 4;
        const long column = at.column + n + 8 * y + lane % 4 * 2;
        put_pair(p, epilogue, at, row, column, sums[x][y][2 * half], sums[x][y][2 * half + 1]);
      }
}

}  // namespace blockgrad::gpu
