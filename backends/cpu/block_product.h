#pragma once
// Products of small dense blocks that a kernel makes on the way to its result, in the cache and by
// one thread, with the tiles of the matrix product. The sizes of each call are free; nothing is
// packed or allocated.

#include <array>
#include <cstdint>

#include "backends/cpu/gemm_kernels.h"
#include "backends/cpu/isa.h"

namespace blockgrad {

/// A matrix in memory: element (r, p) at data[r * ld + p], or data[r + p * ld] if it is a column
/// layout.
template <class T>
struct BlockMatrix {
  const T* data = nullptr;
  std::int64_t ld = 0;
  detail::LayoutA layout = detail::LayoutA::rows;
};

template <class T>
class BlockProduct {
 public:
  /// Throws InternalError for an instruction set that is not in this build.
  explicit BlockProduct(Isa isa);

  /// C[i, j] = sum over p < k of A[i, p] B[p, j], each element one fma chain over ascending p from
  /// C if `adds`, else from +0. Rows of B and C are dense: B[p, j] is b[p * ldb + j]. C overlaps
  /// neither.
  void run(std::int64_t m, std::int64_t n, std::int64_t k, const BlockMatrix<T>& a, const T* b,
           std::int64_t ldb, T* c, std::int64_t ldc, bool adds) const noexcept;

  /// Columns that the destination of `transpose` must have for `columns` elements.
  std::int64_t padded(std::int64_t columns) const;
  /// to[r, c] = from[c, r] for rows x columns elements; zeros up to padded(columns).
  void transpose(std::int64_t rows, std::int64_t columns, const T* from, std::int64_t ld_from,
                 T* to, std::int64_t ld_to) const noexcept {
    table_->transpose(rows, columns, from, ld_from, to, ld_to);
  }

 private:
  const detail::TileKernels<T>* table_;
  std::array<int, 4> most_rows_{};  // of a tile of 1, 2, ... vectors
  int most_vectors_ = 1;            // of a tile that keeps enough sums in registers
};

}  // namespace blockgrad
