#pragma once
// The gradient to a weight some rows at a time, for whoever uses them up at once: a product whose
// sums go over the rows of a batch, so A is transposed.

#include <cstddef>
#include <cstdint>

#include "backends/cpu/gemm.h"

namespace blockgrad {

/// Its bits are those of Gemm.
class RowsProduct {
 public:
  /// Whether A is transposed and B is not, and each sum is short.
  static bool is_one(const GemmShape& shape);

  /// For such a shape. `beside`: bytes that are read or written for an element of the product.
  /// Throws InternalError for an instruction set not in this build.
  RowsProduct(const GemmShape& shape, std::int64_t beside, Isa isa);

  /// How many rows are made at a time.
  std::int64_t rows() const { return rows_; }
  /// Bytes of scratch, aligned to 64, that each thread brings.
  std::size_t scratch() const { return scratch_; }
  const BlockPlan& plan() const { return plan_; }

  /// Before the first rows: lays out B for the tiles.
  void begin(const void* b, std::byte* scratch) const;
  /// Rows first .. last-1 of the product, at most rows(), to c, which has n columns and no gaps.
  void run(const void* a, const void* b, void* c, std::int64_t first, std::int64_t last,
           std::byte* scratch) const;

 private:
  template <class T>
  struct Walk;
  template <class T>
  void choose_tiles(const detail::TileKernels<T>& table);
  template <class T>
  void choose_rows(const detail::TileKernels<T>& table, std::int64_t beside);
  void describe(Isa isa, std::int64_t width);

  GemmShape shape_;
  const detail::GemmKernels* kernels_;
  int tile_rows_ = 1, vectors_ = 1;
  bool packs_a_ = false, packs_b_ = false;
  std::int64_t rows_ = 0;
  std::int64_t panel_ = 0;  // elements from the copy of A for one tile to the next
  std::size_t scratch_b_ = 0, scratch_ = 0;
  BlockPlan plan_;
};

}  // namespace blockgrad
