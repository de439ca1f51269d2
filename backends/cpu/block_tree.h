#pragma once
// The order in which blocks of a long line are joined, see ReduceFn.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "backends/cpu/tape.h"

namespace blockgrad {

inline constexpr std::int64_t block_elements = 1024;

/// Values of equally many blocks joined in pairs, pairs in pairs, as a binary counter carries.
class BlockTree {
 public:
  static constexpr std::size_t most_bytes = 8;  // of a value

  BlockTree(ReduceFn join, std::size_t bytes) : join_(join), bytes_(bytes) {}

  void add(const std::byte* value) {
    std::memcpy(top(), value, bytes_);
    ++height_;
    for (std::int64_t carry = blocks_; (carry & 1) != 0; carry >>= 1) join_last_two();
    ++blocks_;
  }
  void end(std::byte* out) {
    while (height_ > 1) join_last_two();
    std::memcpy(out, levels_, bytes_);
  }

 private:
  std::byte* top() { return levels_ + height_ * bytes_; }
  void join_last_two() {
    height_ -= 2;
    alignas(most_bytes) std::byte joined[most_bytes];
    join_(joined, nullptr, top(), 2, 1, 0);
    std::memcpy(top(), joined, bytes_);
    ++height_;
  }

  ReduceFn join_;
  std::size_t bytes_, height_ = 0;
  std::int64_t blocks_ = 0;
  alignas(most_bytes) std::byte levels_[64 * most_bytes];
};

}  // namespace blockgrad
