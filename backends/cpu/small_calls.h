#pragma once
// Calls of a small program that are done in one go.

#include <cstddef>
#include <vector>

#include "backends/cpu/small_table.h"

namespace blockgrad {

class SmallCalls {
 public:
  void add(const SmallCall& call) { calls_.push_back(call); }
  std::size_t size() const { return calls_.size(); }
  /// Once all are added; references to them hold from then on.
  void join(const SmallTable& table);
  /// The call that was added as number i.
  SmallCall& at(std::size_t i) { return rows_.empty() ? calls_[i] : rows_[position_[i]]; }
  /// All of them so many times.
  void run(std::int64_t times = 1) const {
    if (rows_.size() <= most_in_row + 1) {
      if (!rows_.empty()) run_(rows_.data(), times);
      return;
    }
    for (; times > 0; --times) {
      for (std::size_t first = 0; first < rows_.size(); first += most_in_row + 1)
        run_(&rows_[first], 1);
    }
  }

 private:
  static constexpr std::size_t most_in_row = 128;  // for the stack's sake: see SmallTable::run

  std::vector<SmallCall> calls_;       // as added
  std::vector<SmallCall> rows_;        // joined: an `end` behind every row
  std::vector<std::size_t> position_;  // of each call among them
  void (*run_)(const SmallCall*, std::int64_t) = nullptr;
};

}  // namespace blockgrad
