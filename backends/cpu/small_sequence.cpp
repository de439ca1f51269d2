#include "backends/cpu/small_sequence.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <queue>
#include <utility>

namespace blockgrad {

namespace {

constexpr std::size_t none = static_cast<std::size_t>(-1);

/// Steps without a function among them. Numbers are those in the stretch.
class Stretch {
 public:
  explicit Stretch(std::span<const SmallCall> steps)
      : steps_(steps), waits_for_(steps.size(), 0), followers_(steps.size()) {
    for (std::size_t s = 0; s < steps.size(); ++s) note(s);
    find_heights();
  }

  template <class Do>
  void in_sequence(const Do& visit) {
    std::priority_queue<std::pair<std::int64_t, std::size_t>> ready;  // by height, then the first
    const auto is_ready = [&](std::size_t s) { ready.emplace(heights_[s], steps_.size() - s); };
    std::vector<char> is_done(steps_.size(), 0);
    for (std::size_t s = 0; s < steps_.size(); ++s) {
      if (waits_for_[s] == 0) is_ready(s);
    }
    for (std::size_t next = none; next != none || !ready.empty();) {
      if (next == none) {
        next = steps_.size() - ready.top().second;
        ready.pop();
        if (is_done[next]) {
          next = none;
          continue;
        }
      }
      visit(next);
      is_done[next] = 1;
      std::size_t reader = none;
      for (const std::size_t f : followers_[next]) {
        if (--waits_for_[f] > 0) continue;
        is_ready(f);
        if (reads(steps_[f], steps_[next].out) &&
            (reader == none || heights_[f] > heights_[reader]))
          reader = f;
      }
      next = reader;
    }
  }

 private:
  static constexpr std::uintptr_t line_bytes = 64;

  struct Line {
    std::size_t writer = none;
    std::vector<std::size_t> readers;  // since then
  };

  /// Whether it reads all lanes of what lies there.
  static bool reads(const SmallCall& step, const void* place) {
    return (step.a == place && step.from_a == SmallFrom::memory) ||
           (step.b == place && step.from_b == SmallFrom::memory) ||
           (step.op == SmallOp::fma && step.c == place && step.from_c == SmallFrom::memory);
  }

  // No operand and no result is longer than a line; fed memory, not known yet, is never written.
  template <class Do>
  void each_line(const void* memory, const Do& visit) {
    if (!memory) return;
    const auto first = reinterpret_cast<std::uintptr_t>(memory) / line_bytes;
    const auto last = (reinterpret_cast<std::uintptr_t>(memory) + line_bytes - 1) / line_bytes;
    for (std::uintptr_t l = first; l <= last; ++l) visit(lines_[l]);
  }

  void follows(std::size_t later, std::size_t earlier) {
    if (earlier == none || earlier == later) return;
    followers_[earlier].push_back(later);
    ++waits_for_[later];
  }

  void note(std::size_t s) {
    const SmallCall& step = steps_[s];
    for (const void* operand : {step.a, step.b, step.op == SmallOp::fma ? step.c : nullptr}) {
      each_line(operand, [&](Line& line) {
        follows(s, line.writer);
        line.readers.push_back(s);
      });
    }
    each_line(step.out, [&](Line& line) {
      follows(s, line.writer);
      for (const std::size_t reader : line.readers) follows(s, reader);
      line = {s, {}};
    });
  }

  void find_heights() {
    heights_.assign(steps_.size(), 0);
    for (std::size_t s = steps_.size(); s-- > 0;) {
      for (const std::size_t f : followers_[s])
        heights_[s] = std::max(heights_[s], heights_[f] + 1);
    }
  }

  std::span<const SmallCall> steps_;
  std::vector<std::size_t> waits_for_;  // how many
  std::vector<std::vector<std::size_t>> followers_;
  std::vector<std::int64_t> heights_;  // how many wait for it, one for the other
  std::map<std::uintptr_t, Line> lines_;
};

}  // namespace

std::vector<std::size_t> sequence_of(std::span<const SmallCall> calls) {
  std::vector<std::size_t> sequence;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    if (calls[i].op == SmallOp::function) {
      sequence.push_back(i);
      continue;
    }
    std::size_t end = i;
    while (end < calls.size() && calls[end].op != SmallOp::function) ++end;
    Stretch(calls.subspan(i, end - i)).in_sequence([&](std::size_t s) {
      sequence.push_back(i + s);
    });
    i = end - 1;
  }
  return sequence;
}

}  // namespace blockgrad
