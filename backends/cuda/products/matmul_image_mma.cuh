#pragma once
// Convolutions on tensor cores: how a thread fills chunked panels from images.

#include "backends/cuda/products/matmul_image.cuh"
#include "backends/cuda/products/matmul_mma.cuh"

namespace blockgrad::gpu {

/// See ChunkShare; a chunk is gathered along k. Neighbours in a block read neighbours along k or
/// along w.
template <class T, int width, int depth, int threads, Reads reads>
struct ImageChunkShare {
  using Shared = ChunkedPanel<T, width, depth, reads>;
  static constexpr bool is_along_k = reads == Reads::along_k;
  static constexpr int pack = Shared::pack, chunks = Shared::chunks;
  using Walk = ThreadWalk<width, chunks, threads, is_along_k>;
  static constexpr int count = Walk::count;

  ImagePanel<T> panel;
  ImageStarts<T, Walk> starts;
  Digits first;       // of this thread's first chunk
  Digits next, step;  // from the end of a chunk to its next one, from one begin() to the next
  Pack<T> part[count];

  __device__ __forceinline__ ImageChunkShare(const ImagePanel<T>& from, long k_begin)
      : panel(from), starts(from) {
    const Image<const T>& image = panel.image;
    first = digits_of(k_begin + Walk::k(0) * pack, image.k_rows, image.k_columns);
    next = digits_of((threads / width - 1) * pack, image.k_rows, image.k_columns);
    step = digits_of(depth, image.k_rows, image.k_columns);
  }

  __device__ __forceinline__ void begin(Shared& /*shared*/, long k) {
    const Image<const T>& image = panel.image;
    if constexpr (is_along_k) {
      const long left = panel.k_end - k - Walk::k(0) * pack;
      Digits at = first;
#pragma unroll
      for (int j = 0; j < pack; ++j) {
#pragma unroll
        for (int i = 0; i < count; ++i)
          part[i].value[j] =
              j < left && Walk::w(i) < panel.width ? starts.value(image, i, at) : T(0.0f);
        at.add({0, 0, 1}, image.k_rows, image.k_columns);
      }
    } else {
      Digits at = first;
#pragma unroll
      for (int i = 0; i < count; ++i) {
        const long left = Walk::w(i) < panel.width ? panel.k_end - k - Walk::k(i) * pack : 0;
#pragma unroll
        for (int j = 0; j < pack; ++j) {
          part[i].value[j] = j < left ? starts.value(image, 0, at) : T(0.0f);
          at.add({0, 0, 1}, image.k_rows, image.k_columns);
        }
        if (i + 1 < count) at.add(next, image.k_rows, image.k_columns);
      }
    }
    first.add(step, image.k_rows, image.k_columns);
  }

  __device__ __forceinline__ void finish(Shared& shared) const {
#pragma unroll
    for (int i = 0; i < count; ++i) *shared.at(Walk::w(i), Walk::k(i)) = part[i];
  }
};

template <int width, int depth, int threads, Reads reads, class T>
__device__ __forceinline__ ImageChunkShare<T, width, depth, threads, reads> chunk_share_of(
    const ImagePanel<T>& panel, long k_begin) {
  return {panel, k_begin};
}

}  // namespace blockgrad::gpu
