#pragma once
// What kernels and the host that chooses them name alike: sizes of blocks, and how operands lie in
// memory. Includes nothing, so that device code can use it as it is.

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define BG_HOST_DEVICE __host__ __device__
#else
#define BG_HOST_DEVICE
#endif

namespace blockgrad::gpu {

/// The size of a block of a product: m x k elements of A meet k x n of B.
struct Tile {
  int m, n, k;

  BG_HOST_DEVICE friend constexpr bool operator==(const Tile& x, const Tile& y) {
    return x.m == y.m && x.n == y.n && x.k == y.k;
  }
};

/// A Tile as a type, for kernels: nvcc takes no values of classes as their template arguments.
template <int rows, int columns, int depth>
struct Cut {
  static constexpr int m = rows, n = columns, k = depth;
};

/// Blocks of the rung of tensor cores that are to fit a processor's registers together. What is
/// gathered, element by element, passes through registers.
BG_HOST_DEVICE constexpr int mma_blocks(int operand_size, Tile block, bool is_gathered) {
  if (block.m * block.n <= 64 * 64) return operand_size == 2 && !is_gathered ? 4 : 3;
  return operand_size == 2 && !is_gathered && block.n <= 128 ? 2 : 1;
}

/// How 16 bytes are read at once from an operand, if they are.
enum class Reads {
  along_width,  // the rows of A, or columns of B, of one k lie side by side
  along_k,      // the values of one row of A, or column of B, lie side by side
  one_by_one,   // any strides, any alignment
};

/// A batch of matrices; strides count elements.
template <class T>
struct Matrix {
  T* data;
  long row_stride;
  long column_stride;
  long batch_stride;

  BG_HOST_DEVICE T& at(long batch, long row, long column) const {
    return data[batch * batch_stride + row * row_stride + column * column_stride];
  }
};

/// The same where the matrices of a batch begin anywhere.
template <class T>
struct Matrices {
  T* data;
  long row_stride;
  long column_stride;
  const long* starts;  // of each batch, in elements

  BG_HOST_DEVICE T& at(long batch, long row, long column) const {
    return data[starts[batch] + row * row_stride + column * column_stride];
  }
};

/// C[m, n] = epilogue(sum over k of A[m, k] B[k, n]) for every matrix of a batch. A transposed
/// operand has its strides exchanged. C's columns lie side by side; it overlaps neither A nor B.
/// An operand is any type with Matrix's at(); the product kernels of warps also want panel_of().
template <class In, class Out = In, class A = Matrix<const In>, class B = Matrix<const In>,
          class C = Matrix<Out>>
struct Product {
  using Result = Out;

  A a;  // m x k
  B b;  // k x n
  C c;  // m x n, of each batch and slice
  long m, n, k;
  long k_slice;     // slice s sums k in [s k_slice, min(k, (s + 1) k_slice))
  int k_splits;     // slices; C holds each one's sums apart, as batch * k_splits + s, and Plain
                    // is the only epilogue where there are several: that of C is join_splits'
  int band;         // tile rows that blocks walk together, see place_of
  bool c_in_packs;  // rows of C begin at multiples of 16 bytes
};

/// A block's part of the work: tile (row, column) of C, slice of k, matrix of the batch.
struct Place {
  long row, column, slice, batch;

  BG_HOST_DEVICE friend constexpr bool operator==(const Place& x, const Place& y) {
    return x.row == y.row && x.column == y.column && x.slice == y.slice && x.batch == y.batch;
  }
};

/// Where block number `block` works. The grid is one line of blocks: tiles first, then slices, then
/// the batch. Tiles go column by column through bands of `band` tile rows, so that blocks that run
/// together share rows of A and columns of B in the L2 cache.
BG_HOST_DEVICE constexpr Place place_of(long block, long m, long n, Tile tile, int k_splits,
                                        int band) {
  const long rows = (m + tile.m - 1) / tile.m, columns = (n + tile.n - 1) / tile.n;
  const long at = block % (rows * columns), rest = block / (rows * columns);
  const long first = at / (band * columns) * band, in_band = at - first * columns;
  const long height = rows - first < band ? rows - first : band;
  return {(first + in_band % height) * tile.m, in_band / height * tile.n, rest % k_splits,
          rest / k_splits};
}

}  // namespace blockgrad::gpu

#undef BG_HOST_DEVICE
