#pragma once
// What kernels and the host that chooses them name alike: sizes of blocks, and how operands lie in
// memory. Includes nothing, so that device code can use it as it is.

#ifdef __CUDACC__
#define BG_HOST_DEVICE __host__ __device__
#else
#define BG_HOST_DEVICE
#endif

namespace blockgrad::gpu {

/// The size of a block of a product: m x k elements of A meet k x n of B.
struct Tile {
  int m, n, k;

  bool operator==(const Tile&) const = default;
};

/// How 16 bytes are read at once from an operand, if they are.
enum class Reads {
  along_width,  // the rows of A, or columns of B, of one k lie side by side
  along_k,      // the values of one row of A, or column of B, lie side by side
  one_by_one,   // any strides, any alignment
};

/// A block's part of the work: tile (row, column) of C, slice of k, matrix of the batch.
struct Place {
  long row, column, slice, batch;

  bool operator==(const Place&) const = default;
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
