#pragma once
// What every kernel of the ladder computes, and what they share: operands as strided matrices and
// the place of a block in the grid. Kernels are plain CUDA C++ that also compiles as host code
// (after backends/cuda/harness/cuda_names.h), so includes are those that both can read.

#include "backends/cuda/matmul_layout.h"
#include "graph/scalar_bits.h"

namespace blockgrad::gpu {

/// A batch of matrices; strides count elements.
template <class T>
struct Matrix {
  T* data;
  long row_stride;
  long column_stride;
  long batch_stride;

  __device__ __forceinline__ T& at(long batch, long row, long column) const {
    return data[batch * batch_stride + row * row_stride + column * column_stride];
  }
};

/// C[m, n] = epilogue(sum over k of A[m, k] B[k, n]) for every matrix of a batch. A transposed
/// operand has its strides exchanged. C's columns lie side by side; it overlaps neither A nor B.
template <class In, class Out = In>
struct Product {
  Matrix<const In> a;  // m x k
  Matrix<const In> b;  // k x n
  Matrix<Out> c;       // m x n, of each batch and slice
  long m, n, k;
  long k_slice;     // slice s sums k in [s k_slice, min(k, (s + 1) k_slice))
  int k_splits;     // slices; C holds each one's sums apart, as batch * k_splits + s
  int band;         // tile rows that blocks walk together, see place_of
  bool c_in_packs;  // rows of C begin at multiples of 16 bytes
};

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
template <class In, class Out>
__device__ __forceinline__ Place place_of_block(const Product<In, Out>& p, Tile tile) {
  return place_of(blockIdx.x, p.m, p.n, tile, p.k_splits, p.band);
}

/// The end of the slice's part of k.
template <class In, class Out>
__device__ __forceinline__ long end_of_slice(const Product<In, Out>& p, const Place& at) {
  const long end = (at.slice + 1) * p.k_slice;
  return end < p.k ? end : p.k;
}

/// 16 bytes that are moved at once.
template <class T>
struct alignas(16) Pack {
  static constexpr int size = 16 / static_cast<int>(sizeof(T));
  T value[size];
};

}  // namespace blockgrad::gpu
