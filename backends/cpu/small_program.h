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

#include "backends/cpu/small_order.h"
#include "backends/cpu/small_table.h"

namespace blockgrad {

struct SmallCall {
  TapeFn run = nullptr;
  void* out = nullptr;
  const void *a = nullptr, *b = nullptr, *c = nullptr;
  std::int64_t n = 0;
};

/// Calls under one condition.
struct SmallBlock {
  const std::byte* guard = nullptr;  // null: always
  std::size_t end = 0;               // of its calls; it begins where the block before ends
};

/// What a plan's small steps became. `begin_run` comes before the first step of a run, `bind` when
/// feeds have changed.
class SmallProgram {
 public:
  /// Steps that follow each other, done in one go.
  struct Segment {
    std::vector<SmallCall> calls;
    std::vector<SmallBlock> blocks;
  };

  void begin_run() const { run(once_); }
  void bind(std::span<const std::byte* const> feeds);
  void run_segment(std::size_t s) const {
    const Segment& segment = segments_[s];
    const SmallCall* call = segment.calls.data();
    for (const SmallBlock& block : segment.blocks) {
      const SmallCall* const end = segment.calls.data() + block.end;
      if (!block.guard || *block.guard != std::byte{0}) {
        for (; call != end; ++call) call->run(call->out, call->a, call->b, call->c, call->n);
      }
      call = end;
    }
  }

 private:
  friend class SmallValues;
  static void run(std::span<const SmallCall> calls) {
    for (const SmallCall& call : calls) call.run(call.out, call.a, call.b, call.c, call.n);
  }
  /// A call whose operand lies in a feed.
  struct FeedUse {
    std::size_t feed, call;
    std::int64_t offset;  // bytes
  };

  std::vector<SmallCall> once_, bound_;  // what depends on storage nobody writes; on feeds too
  std::vector<FeedUse> feed_uses_;       // of bound_
  std::vector<Segment> segments_;
  std::vector<std::shared_ptr<const void>> kept_;  // places, and what calls point to
};

/// The segments of `order`. `place` tells where an operand that is not a feed begins.
SmallProgram make_small_program(const Graph& graph, const Plan& plan, const SmallOrder& order,
                                Isa isa, const std::function<std::byte*(const Operand&)>& place);

}  // namespace blockgrad
