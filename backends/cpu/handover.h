#pragma once
// What one thread of a kernel tells another that goes on with its values, block after block. A
// block of an earlier turn is not taken for one of this turn, so nothing is ever reset.

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "backends/cpu/relax.h"

namespace blockgrad {

class Handover {
 public:
  explicit Handover(std::int64_t blocks) : blocks_(static_cast<std::size_t>(blocks)) {}

  std::int64_t blocks() const { return static_cast<std::int64_t>(blocks_.size()); }
  /// What this thread wrote before is there for whoever has waited. `turn` is not 0.
  void pass(std::int64_t block, std::uint64_t turn) {
    blocks_[static_cast<std::size_t>(block)].turn.store(turn, std::memory_order_release);
  }
  void wait(std::int64_t block, std::uint64_t turn) const {
    constexpr int polls_before_yield = 2000;
    const std::atomic<std::uint64_t>& passed = blocks_[static_cast<std::size_t>(block)].turn;
    int polls = 0;
    while (passed.load(std::memory_order_acquire) != turn) {
      if (polls == polls_before_yield) {
        std::this_thread::yield();
      } else {
        relax();
        ++polls;
      }
    }
  }

 private:
  struct alignas(128) Block {  // lines that come alone: who waits for one disturbs no other
    std::atomic<std::uint64_t> turn{0};
  };
  std::vector<Block> blocks_;
};

}  // namespace blockgrad
