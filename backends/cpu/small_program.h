#pragma once
// Small programs: runs of instructions on values of at most 64 bytes, as one list of calls with
// resolved pointers. Values stay in places of their own, whole vectors, from one step to the next;
// memory gets what others read. Bits are those of the kernels one by one.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "backends/cpu/small_calls.h"
#include "backends/cpu/small_order.h"

namespace blockgrad {

/// Calls under one condition.
struct SmallBlock {
  const std::byte* guard = nullptr;  // null: always
  SmallCalls calls;
};

/// What a plan's small steps became. `begin_run` comes before the first step of a run, `bind` when
/// feeds have changed, `end_run` behind the last step.
class SmallProgram {
 public:
  SmallProgram() = default;
  SmallProgram(SmallProgram&&) = default;
  SmallProgram& operator=(SmallProgram&&) = default;

  void begin_run() const { once_.run(); }
  void end_run() const { end_.run(); }
  void bind(std::span<const std::byte* const> feeds) {
    for (const FeedUse& use : feed_uses_) *use.operand = feeds[use.feed] + use.offset;
    bound_.run();
  }
  /// The segment so many times.
  void run_segment(std::size_t s, std::int64_t times = 1) const {
    const std::vector<SmallBlock>& blocks = segments_[s];
    if (blocks.size() == 1 && !blocks[0].guard) return blocks[0].calls.run(times);
    for (; times > 0; --times) {
      for (const SmallBlock& block : blocks) {
        if (!block.guard || *block.guard != std::byte{0}) block.calls.run();
      }
    }
  }

 private:
  friend class SmallValues;
  /// An operand of a call that lies in a feed.
  struct FeedUse {
    const void** operand;
    std::size_t feed;
    std::int64_t offset;  // bytes
  };

  SmallCalls once_, bound_;  // what depends on storage nobody writes; on feeds too
  SmallCalls end_;           // to memory, where nothing reads it between two steps
  std::vector<FeedUse> feed_uses_;
  std::vector<std::vector<SmallBlock>> segments_;  // steps that follow each other, done in one go
  std::vector<std::shared_ptr<const void>> kept_;  // places, and what calls point to
};

/// The segments of `order`. `place` tells where an operand that is not a feed begins.
SmallProgram make_small_program(const Graph& graph, const Plan& plan, const SmallOrder& order,
                                Isa isa, const std::function<std::byte*(const Operand&)>& place);

}  // namespace blockgrad
