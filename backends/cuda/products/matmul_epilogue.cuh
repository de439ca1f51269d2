#pragma once
// What a generated epilogue reads and writes: neighbours in a row of operands that lie as matrices
// of the product's batch. Its member put(batch, row, column, left, sums) gets sums that lie side by
// side in C, of which the first `left` are inside.

#include "backends/cuda/products/matmul_product.cuh"

namespace blockgrad::gpu {

/// `size` elements that are moved at once where they lie so.
template <class T, int size>
struct alignas(sizeof(T) * size) Strip {
  T value[size];
};

/// The first `count` elements from this one on. in_packs: rows begin at multiples of 4 elements
/// and so do batches, and columns lie side by side.
template <int size, bool in_packs, template <class> class Operand, class T>
__device__ __forceinline__ Strip<T, size> read_strip(const Operand<const T>& x, long batch,
                                                     long row, long column, int count) {
  static_assert(size <= 4);
  if (in_packs && count == size)
    return *reinterpret_cast<const Strip<T, size>*>(&x.at(batch, row, column));
  Strip<T, size> strip;
#pragma unroll
  for (int j = 0; j < size; ++j)
    if (j < count) strip.value[j] = x.at(batch, row, column + j);
  return strip;
}

template <bool in_packs, template <class> class Operand, class T, int size>
__device__ __forceinline__ void write_strip(const Operand<T>& y, long batch, long row, long column,
                                            int count, const Strip<T, size>& strip) {
  if (in_packs && count == size) {
    *reinterpret_cast<Strip<T, size>*>(&y.at(batch, row, column)) = strip;
  } else {
#pragma unroll
    for (int j = 0; j < size; ++j)
      if (j < count) y.at(batch, row, column + j) = strip.value[j];
  }
}

/// A formula where the planes of all images lie along a row of the product: its column is image *
/// places + place, its batch the group.
template <class Formula>
struct OfImages : PutsItself {
  Formula formula;
  long places, groups;

  template <class T, int size>
  __device__ __forceinline__ void put(long group, long row, long column, long left,
                                      const T (&sums)[size]) const {
#pragma unroll
    for (int j = 0; j < size; ++j) {
      if (j >= left) continue;
      const T one[1] = {sums[j]};
      const long image = (column + j) / places;
      formula.put(image * groups + group, row, (column + j) % places, 1, one);
    }
  }
};

}  // namespace blockgrad::gpu
