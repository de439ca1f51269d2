#pragma once
// The gradient to a weight: a product whose sums go over the rows of a batch, which both operands
// have. Each of two threads made its half of these rows, so whoever makes a part of the result out
// of all rows reads half of them from the other's cache. Here a thread adds up its own half: the
// first one begins the sums, tile after tile, and the second one goes on with them close behind.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "backends/cpu/gemm.h"
#include "backends/cpu/handover.h"

namespace blockgrad {

/// Its bits are those of Gemm.
class WeightProduct {
 public:
  /// Whether this is such a product, its operands are that much more than the result, which
  /// changes hands, and a half of them fits a thread's cache, over all of which its rows spread.
  static bool is_worth_it(const GemmShape& shape);

  /// A is transposed, B is not. Throws InternalError for an instruction set not in this build.
  WeightProduct(const GemmShape& shape, Isa isa);

  /// Bytes of scratch, aligned to 64, that each thread brings.
  std::size_t scratch() const { return scratch_; }
  /// And all of them together.
  std::size_t shared() const { return shared_; }
  /// Adds up half 0 or 1 of the rows. Half 1 waits for half 0 of the same turn, which is not 0.
  void run(int half, std::uint64_t turn, const void* a, const void* b, void* c, std::byte* scratch,
           std::byte* shared) const;

 private:
  struct Tiles {
    int rows = 1, vectors = 1;
    double cycles = 0;  // of all of C
  };
  template <class T>
  struct Walk;

  template <class T>
  static Tiles best_tiles(const detail::TileKernels<T>& table, const GemmShape& shape);
  template <class T>
  void choose(const detail::TileKernels<T>& table);

  GemmShape shape_;         // the product that is computed
  bool is_turned_ = false;  // as transpose(B) * A, made in what is shared and then transposed
  const detail::GemmKernels* kernels_;
  Tiles tiles_;
  std::int64_t block_rows_ = 0;  // of C, whose columns of A are copied at once
  std::int64_t panel_ = 0;       // elements from the copy for one tile to the next
  std::int64_t batch_ = 0;       // tiles that change hands together
  std::size_t scratch_ = 0, shared_ = 0;
  std::shared_ptr<Handover> handover_;
};

}  // namespace blockgrad
