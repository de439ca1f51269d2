#pragma once
// Which steps of a plan are small, and in what order a step then goes.

#include <cstdint>
#include <vector>

#include "graph/plan.h"

namespace blockgrad {

/// What a step does next: an instruction of the plan, by phase and number, or a segment of a small
/// program.
struct StepItem {
  enum class Kind : std::uint8_t { step, update, commit, segment } kind = Kind::step;
  std::size_t number = 0;
};

struct SmallOrder {
  struct Entry {
    StepItem::Kind kind;  // never segment
    std::size_t number;
    std::int32_t segment;  // of neighbours done in one go; -1: a kernel of its own
  };
  std::vector<Entry> entries;
  std::size_t segments = 0;
  std::vector<std::vector<char>> is_read_outside;  // per result: by something not of its segment

  const PlanStep& step(const Plan& plan, const Entry& entry) const {
    return entry.kind == StepItem::Kind::step ? plan.steps[entry.number]
                                              : plan.updates[entry.number];
  }
  /// Whether a step is one segment and nothing else.
  bool is_one_segment() const;
  /// Neighbours of one segment as one item.
  std::vector<StepItem> items() const;
};

/// Small are Maps, reductions and products whose values have at most 16 elements and 64 bytes.
SmallOrder order_small_steps(const Graph& graph, const Plan& plan);

}  // namespace blockgrad
