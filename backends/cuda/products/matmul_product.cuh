#pragma once
// What every kernel of the ladder computes, and what they share: operands as strided matrices and
// the place of a block in the grid. Kernels are plain CUDA C++ that also compiles as host code
// (after backends/cuda/harness/cuda_names.h), so includes are those that both can read.

#include "backends/cuda/products/matmul_layout.h"
#include "graph/scalar_bits.h"

namespace blockgrad::gpu {

/// An epilogue makes an element of C of a sum, but one of this kind puts it where it wants to; see
/// matmul_epilogue.cuh.
struct PutsItself {};
template <class Epilogue>
inline constexpr bool puts_itself = __is_base_of(PutsItself, Epilogue);

/// c = x, for the product alone.
struct Plain {
  template <class T>
  __device__ __forceinline__ T operator()(T x, long /*batch*/, long /*column*/) const {
    return x;
  }
};

/// c = x + bias[column].
template <class T>
struct AddBias {
  const T* bias;

  __device__ __forceinline__ T operator()(T x, long /*batch*/, long column) const {
    return x + bias[column];
  }
};

/// c = max(x + bias[column], 0); NaN stays NaN.
template <class T>
struct AddBiasRelu {
  const T* bias;

  __device__ __forceinline__ T operator()(T x, long /*batch*/, long column) const {
    const T y = x + bias[column];
    return y < 0 ? T(0) : y;
  }
};

/// See place_of.
template <class Block, class P>
__device__ __forceinline__ Place place_of_block(const P& p) {
  return place_of(blockIdx.x, p.m, p.n, {Block::m, Block::n, Block::k}, p.k_splits, p.band);
}

/// The end of the slice's part of k.
template <class P>
__device__ __forceinline__ long end_of_slice(const P& p, const Place& at) {
  const long end = (at.slice + 1) * p.k_slice;
  return end < p.k ? end : p.k;
}

/// Puts an element of C where it belongs.
template <class P, class T, class Epilogue>
__device__ __forceinline__ void put_element(const P& p, const Epilogue& epilogue, long batch,
                                            long row, long column, T sum) {
  if constexpr (puts_itself<Epilogue>) {
    const T sums[1] = {sum};
    epilogue.put(batch, row, column, 1, sums);
  } else {
    p.c.at(batch, row, column) = static_cast<typename P::Result>(epilogue(sum, batch, column));
  }
}

/// 16 bytes that are moved at once.
template <class T>
struct alignas(16) Pack {
  static constexpr int size = 16 / static_cast<int>(sizeof(T));
  T value[size];
};

}  // namespace blockgrad::gpu
