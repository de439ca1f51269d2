#pragma once
// The rung of tensor cores, for bf16, f16 and, where users opt in, f32 rounded to TF32: a warp
// multiplies 16 x 16 by 16 x 8 elements with one instruction. Several stages of tiles are under way
// to shared memory at a time (cp.async); 16-byte chunks of a line lie permuted by its number, so
// that neither ldmatrix nor the copies meet bank conflicts.
//
//   grid -> block tile (m, n, k) -> warp tile (m, n) -> instruction (16, 8, 32 bytes of k)

#include "backends/cuda/products/matmul_panel.cuh"
#include "backends/cuda/products/shared_memory.cuh"
#include "backends/cuda/products/tensor_cores.cuh"

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

/// One thread's share of filling panels: begin() asks for the values of the panel from step k on,
/// and finish() puts those into shared memory that do not get there by themselves. What lies beyond
/// the operand counts as 0.
template <class In, int width, int depth, int threads, Reads reads>
struct ChunkShare {
  using Shared = ChunkedPanel<In, width, depth, reads>;
  static constexpr bool is_copied = reads != Reads::one_by_one;
  static constexpr int pack = Shared::pack, lines = Shared::lines, chunks = Shared::chunks;
  static constexpr int count = lines * chunks / threads;
  static_assert(count * threads == lines * chunks, "every thread moves the same");

  Panel<In> panel;
  Pack<In> part[is_copied ? 1 : count];

  // Neighbours read neighbours: chunks of one line first, or, of what is read one by one with the
  // width side by side, lines.
  __device__ __forceinline__ bool is_across() const {
    return !is_copied && panel.width_stride == 1;
  }
  __device__ __forceinline__ int line_of(int i) const {
    const int at = static_cast<int>(threadIdx.x) + i * threads;
    return is_across() ? at % lines : at / chunks;
  }
  __device__ __forceinline__ int chunk_of(int i) const {
    const int at = static_cast<int>(threadIdx.x) + i * threads;
    return is_across() ? at / lines : at % chunks;
  }

  __device__ __forceinline__ void begin(Shared& shared, long k) {
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const int line = line_of(i), chunk = chunk_of(i);
      const long w = Shared::is_along_k ? line : chunk * pack;
      const long at_k = k + (Shared::is_along_k ? chunk * pack : line);
      const In* const from = panel.data + w * panel.width_stride + at_k * panel.k_stride;
      const bool is_inside = w < panel.width && at_k < panel.k_end;
      const long left = Shared::is_along_k ? panel.k_end - at_k : panel.width - w;
      const int size = !is_inside ? 0 : left < pack ? static_cast<int>(left) : pack;
      if constexpr (is_copied) {
        copy_async(shared.at(line, chunk), size > 0 ? from : panel.data,
                   size * static_cast<int>(sizeof(In)));
      } else {
#pragma unroll
        for (int j = 0; j < pack; ++j)
          part[i].value[j] = j < size ? from[j * panel.k_stride] : In(0.0f);
      }
    }
  }

  __device__ __forceinline__ void finish(Shared& shared) const {
    if constexpr (!is_copied) {
#pragma unroll
      for (int i = 0; i < count; ++i) *shared.at(line_of(i), chunk_of(i)) = part[i];
    }
  }
};

/// The share of the calling thread.
template <int width, int depth, int threads, Reads reads, class In>
__device__ __forceinline__ ChunkShare<In, width, depth, threads, reads> chunk_share_of(
    const Panel<In>& panel, long /*k_begin*/) {
  return {panel, {}};
}

/// One stage on its way.
template <class In, class Block, Reads reads_a, Reads reads_b>
struct Stage {
  ChunkedPanel<In, Block::m, Block::k, reads_a> a;
  ChunkedPanel<In, Block::n, Block::k, reads_b> b;
};

/// How far a column of C lies from the first one of the same row.
template <class C>
__device__ __forceinline__ long place_in_row(const C& c, long column) {
  return column * c.column_stride;
}

/// Puts two neighbours of a row into C, at once where both are inside and lie so; their places in
/// the row are given, as a lane has several rows of them.
template <class P, class Epilogue>
__device__ __forceinline__ void put_pair_into_c(const P& p, const Epilogue& epilogue,
                                                const Place& at, long row, long column,
                                                const long (&places)[2], const float (&sums)[2]) {
  using Out = typename P::Result;
  struct alignas(2 * sizeof(Out)) Pair {
    Out value[2];
  };
  const bool has_second = column + 1 < p.n;
  Pair pair{{static_cast<Out>(epilogue(sums[0], at.batch, column)), Out(0.0f)}};
  if (has_second) pair.value[1] = static_cast<Out>(epilogue(sums[1], at.batch, column + 1));
  Out* const line = &p.c.at(at.batch * p.k_splits + at.slice, row, 0);
  if (p.c_in_packs && has_second) {
    *reinterpret_cast<Pair*>(line + places[0]) = pair;
  } else {
    line[places[0]] = pair.value[0];
    if (has_second) line[places[1]] = pair.value[1];
  }
}

/// Puts two neighbours of a row where they belong.
template <class P, class Epilogue>
__device__ __forceinline__ void put_pair(const P& p, const Epilogue& epilogue, const Place& at,
                                         long row, long column, const long (&places)[2],
                                         const float (&sums)[2]) {
  if constexpr (puts_itself<Epilogue>) {
    epilogue.put(at.batch, row, column, p.n - column, sums);
  } else {
    put_pair_into_c(p, epilogue, at, row, column, places, sums);
  }
}

/// The sums of one warp's tile.
template <class In, class Warp>
struct WarpTile {
  static constexpr int tiles_m = Warp::m / 16, tiles_n = Warp::n / 8;

  float sums[tiles_m][tiles_n][4] = {};

  /// Adds the products of a stage, from row m and column n of the block on.
  template <int depth, class A, class B>
  __device__ __forceinline__ void add(A& a, B& b, int m, int n) {
    constexpr int step = 32 / static_cast<int>(sizeof(In));  // k of one instruction
#pragma unroll
    for (int i = 0; i < depth; i += step) {
      unsigned from_a[tiles_m][4], from_b[tiles_n / 2][4];
#pragma unroll
      for (int x = 0; x < tiles_m; ++x) a.load(from_a[x], m + 16 * x, i);
#pragma unroll
      for (int y = 0; y < tiles_n / 2; ++y) b.load(from_b[y], n + 16 * y, i);
#pragma unroll
      for (int x = 0; x < tiles_m; ++x)
#pragma unroll
        for (int y = 0; y < tiles_n; ++y)
          multiply_add(In(0.0f), sums[x][y], from_a[x], from_b[y / 2][y % 2],
                       from_b[y / 2][y % 2 + 2]);
    }
  }

  /// A lane holds two neighbours in each of two rows of an instruction's C.
  template <class P, class Epilogue>
  __device__ __forceinline__ void put(const P& p, const Epilogue& epilogue, const Place& at, int m,
                                      int n) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int y = 0; y < tiles_n; ++y) {
      const long column = at.column + n + 8 * y + lane % 4 * 2;
      if (column >= p.n) continue;
      const long places[2] = {place_in_row(p.c, column), place_in_row(p.c, column + 1)};
#pragma unroll
      for (int i = 0; i < 2 * tiles_m; ++i) {
        const long row = at.row + m + 8 * i + lane / 4;
        const float pair[2] = {sums[i / 2][y][i % 2 * 2], sums[i / 2][y][i % 2 * 2 + 1]};
        if (row < p.m) put_pair(p, epilogue, at, row, column, places, pair);
      }
    }
  }
};

template <class Block, class Warp>
inline constexpr int threads_of_mma = 32 * (Block::m / Warp::m) * (Block::n / Warp::n);

/// Grid: see place_of, of threads_of_mma<Block, Warp> threads; dynamic shared memory: `stages` of
/// Stage<...>. In is bf16 or f16, or float, which is rounded to TF32; sums are f32, and Out is
/// rounded to once. Order of the sum: steps of 32 bytes of k in ascending order; within a step the
/// tensor core's.
template <class Block, class Warp, int stages, Reads reads_a, Reads reads_b, class In, class Out,
          class A, class B, class C, class Epilogue>
__device__ __forceinline__ void multiply_mma(const Product<In, Out, A, B, C>& p,
                                             const Epilogue& epilogue) {
  constexpr int threads = threads_of_mma<Block, Warp>;
  struct Stages {
    Stage<In, Block, reads_a, reads_b> of[stages];
  };
  auto& shared = shared_memory<Stages>();

  // Grid to block: a tile of C, and a slice of k.
  const Place at = place_of_block<Block>(p);
  const long k_begin = at.slice * p.k_slice, k_end = end_of_slice(p, at);
  auto a = chunk_share_of<Block::m, Block::k, threads, reads_a>(panel_of_a(p, at, k_end), k_begin);
  auto b = chunk_share_of<Block::n, Block::k, threads, reads_b>(panel_of_b(p, at, k_end), k_begin);

  // Block to warp.
  const int warp_at = static_cast<int>(threadIdx.x) / 32;
  const int m = warp_at / (Block::n / Warp::n) * Warp::m,
            n = warp_at % (Block::n / Warp::n) * Warp::n;

  WarpTile<In, Warp> tile;
  const auto begin = [&](long k, int to) {
    if (k < k_end) {
      a.begin(shared.of[to].a, k);
      b.begin(shared.of[to].b, k);
    }
    commit_copies();
  };
  const auto finish = [&](long k, int to) {
    if (k < k_end) {
      a.finish(shared.of[to].a);
      b.finish(shared.of[to].b);
    }
  };
#pragma unroll
  for (int i = 0; i < stages - 1; ++i) {
    begin(k_begin + i * Block::k, i);
    finish(k_begin + i * Block::k, i);
  }
  int stage = 0;
  for (long k = k_begin; k < k_end; k += Block::k) {
    wait_copies<stages - 2>();
    __syncthreads();  // this stage is there for all, and the one before it is read by all
    const int free = stage == 0 ? stages - 1 : stage - 1;
    begin(k + (stages - 1) * Block::k, free);
    tile.template add<Block::k>(shared.of[stage].a, shared.of[stage].b, m, n);
    finish(k + (stages - 1) * Block::k, free);
    stage = stage == stages - 1 ? 0 : stage + 1;
  }
  wait_copies<0>();
  tile.put(p, epilogue, at, m, n);
}

template <class In, class Out, class Block, class Warp, int stages, Reads reads_a, Reads reads_b,
          class Epilogue>
__global__ void __launch_bounds__(threads_of_mma<Block, Warp>,
                                  mma_blocks(sizeof(In), {Block::m, Block::n, Block::k},
                                             reads_a == Reads::one_by_one ||
                                                 reads_b == Reads::one_by_one))
    matmul_mma(Product<In, Out> p, Epilogue epilogue) {
  multiply_mma<Block, Warp, stages, reads_a, reads_b>(p, epilogue);
}

}  // namespace blockgrad::gpu
