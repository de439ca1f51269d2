#pragma once
// Where blocks of memory lie in one arena, each needed for some steps of a program. Pure numbers.

#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace blockgrad {

/// Memory that is needed from step `birth` to step `death`, both included.
struct ArenaBlock {
  static constexpr std::int32_t forever = std::numeric_limits<std::int32_t>::max();
  std::int64_t bytes = 0;
  std::int32_t birth = 0, death = forever;
};

/// What a value takes in an arena: whole cache lines of 64 bytes. Throws Error on overflow.
std::int64_t whole_lines(std::int64_t bytes);

/// The most bytes needed at one step, in whole lines: no arena can be smaller. `blocks` in order of
/// birth.
std::int64_t most_live(std::span<const ArenaBlock> blocks);

struct Placement {
  std::vector<std::int64_t> at;  // of each block; multiples of 64
  std::int64_t peak = 0;         // bytes from 0 on
};

/// Blocks in order of birth, best fit.
Placement place_in_time_order(std::span<const ArenaBlock> blocks);
/// In this order of numbers of blocks, each in the tightest gap that the blocks placed before
/// leave. The time is quadratic.
Placement place_in_order(std::span<const ArenaBlock> blocks, std::span<const std::size_t> order);
/// The best of several. In time order; where that is above most_live, the largest first (Pisarchyk
/// and Lee 2020, greedy by size), and those with the most bytes times steps first; while no arena
/// is within 2 % of most_live, the block that reached the top goes first, so often as their number
/// lets; and where none is within 0.4 %, hill climbing over the order of large blocks, the same way
/// each time. `blocks` in order of birth.
Placement place(std::span<const ArenaBlock> blocks);

/// Memory handed out best fit, in time order.
class ArenaLayout {
 public:
  std::int64_t take(std::int64_t bytes);
  void give_back(std::int64_t offset, std::int64_t bytes);
  std::int64_t peak() const { return end_; }

 private:
  std::vector<std::pair<std::int64_t, std::int64_t>>
      free_;  // offset, bytes; ascending, never adjacent
  std::int64_t end_ = 0;
};

}  // namespace blockgrad
