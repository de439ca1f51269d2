#pragma once
// How a matrix product is cut into blocks: a value that is chosen when a program is compiled,
// printed by explain(), compared and pinned by tests.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace blockgrad {

/// Where a block lives while it is worked on; the outermost level first.
enum class Level { cache, reg, grid, warp, instruction };

/// "cache", "reg", ...
std::string_view to_string(Level level);

/// At this level m x k elements of A meet k x n elements of B at a time.
struct Block {
  Level level = Level::cache;
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;

  bool operator==(const Block&) const = default;
};

/// The cut of C[m, n] = sum over k of A[m, k] * B[k, n]. Blocks tile the level above exactly once;
/// those at its lower and right edges may be smaller.
struct BlockPlan {
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::vector<Block> levels;  // outermost first
  int k_splits = 1;           // slices of k that are summed apart and joined in fixed order
  std::string why;            // one line: what led to this cut

  bool operator==(const BlockPlan&) const = default;

  /// Throws InternalError unless every block fits the level above it, is not empty where the
  /// product is not, and is a whole number of the blocks inside it or as large as the product
  /// itself.
  void verify() const;
};

/// "m,n,k 256x128x784 | cache 192x128x392 > reg 6x16x1 | k in order, 1 split | why: ...".
std::string to_string(const BlockPlan& plan);

}  // namespace blockgrad
