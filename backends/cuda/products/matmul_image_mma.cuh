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
  static constexpr int count = width * chunks / threads;
  static_assert(count * threads == width * chunks && threads % (is_along_k ? chunks : width) == 0,
                "every thread moves the same");
  static constexpr int count_w = is_along_k ? count : 1;

  __device__ __forceinline__ static int width_of(int i) {
    const int thread = static_cast<int>(threadIdx.x);
    return is_along_k ? thread / chunks + i * (threads / chunks) : thread % width;
  }
  __device__ __forceinline__ static int chunk_of(int i) {
    const int thread = static_cast<int>(threadIdx.x);
    return is_along_k ? thread % chunks : thread / width + i * (threads / width);
  }

  ImagePanel<T> panel;
  const T* planes[count_w];  // where each w reads where k = 0
  int row[count_w], column[count_w];
  Digits first;       // of this thread's first chunk
  Digits next, step;  // from the end of a chunk to its next one, from one begin() to the next
  Pack<T> part[count];

  __device__ __forceinline__ ImageChunkShare(const ImagePanel<T>& from, long k_begin)
      : panel(from) {
    const Image<const T>& image = panel.image;
#pragma unroll
    for (int i = 0; i < count_w; ++i) {
      const Digits w = digits_of(panel.first + width_of(i), image.w_rows, image.w_columns);
      planes[i] = panel.planes + w.plane * image.w_plane;
      row[i] = static_cast<int>(image.row + w.row * image.w_row);
      column[i] = static_cast<int>(image.column + w.column * image.w_column);
    }
    first = digits_of(k_begin + chunk_of(0) * pack, image.k_rows, image.k_columns);
    next = digits_of((threads / width - 1) * pack, image.k_rows, image.k_columns);
    step = digits_of(depth, image.k_rows, image.k_columns);
  }

  __device__ __forceinline__ T value(int at_w, const Digits& k) const {
    const Image<const T>& image = panel.image;
    const int y = row[at_w] + k.row * static_cast<int>(image.k_row);
    const int x = column[at_w] + k.column * static_cast<int>(image.k_column);
    const bool is_inside = y >= 0 && y < image.rows && x >= 0 && x < image.columns;
    return is_inside ? planes[at_w][k.plane * image.k_plane + y * image.columns + x] : T(0.0f);
  }

  __device__ __forceinline__ void begin(Shared& /*shared*/, long k) {
    const Image<const T>& image = panel.image;
    if constexpr (is_along_k) {
      const long left = panel.k_end - k - chunk_of(0) * pack;
      Digits at = first;
#pragma unroll
      for (int j = 0; j < pack; ++j) {
#pragma unroll
        for (int i = 0; i < count; ++i)
          part[i].value[j] = j < left && width_of(i) < panel.width ? value(i, at) : T(0.0f);
        at.add({0, 0, 1}, image.k_rows, image.k_columns);
      }
    } else {
      Digits at = first;
#pragma unroll
      for (int i = 0; i < count; ++i) {
        const long left = width_of(i) < panel.width ? panel.k_end - k - chunk_of(i) * pack : 0;
#pragma unroll
        for (int j = 0; j < pack; ++j) {
          part[i].value[j] = j < left ? value(0, at) : T(0.0f);
          at.add({0, 0, 1}, image.k_rows, image.k_columns);
        }
        if (i + 1 < count) at.add(next, image.k_rows, image.k_columns);
      }
    }
    first.add(step, image.k_rows, image.k_columns);
  }

  __device__ __forceinline__ void finish(Shared& shared) const {
#pragma unroll
    for (int i = 0; i < count; ++i) *shared.at(width_of(i), chunk_of(i)) = part[i];
  }
};

template <int width, int depth, int threads, Reads reads, class T>
__device__ __forceinline__ ImageChunkShare<T, width, depth, threads, reads> chunk_share_of(
    const ImagePanel<T>& panel, long k_begin) {
  return {panel, k_begin};
}

}  // namespace blockgrad::gpu
