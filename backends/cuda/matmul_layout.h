#pragma once
// What kernels and the host that chooses them name alike: sizes of blocks, and how operands lie in
// memory. Includes nothing, so that device code can use it as it is.

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

}  // namespace blockgrad::gpu
