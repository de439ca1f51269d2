#pragma once
// When each value of a graph, in its order of nodes, is made and read, and how many bytes are live
// at each step. What comes last of all, new values of storage, has no time.

#include <cstdint>
#include <vector>

#include "graph/memory_values.h"

namespace blockgrad {

class Timeline {
 public:
  explicit Timeline(const Graph& graph);

  const MemoryValues& values() const { return values_; }
  /// Steps of the run; what comes last of all happens at this time.
  std::int32_t end() const { return static_cast<std::int32_t>(nodes_.size()); }
  std::int32_t node_at(std::int32_t time) const { return nodes_[static_cast<std::size_t>(time)]; }
  std::int32_t birth(std::int32_t v) const { return birth_[static_cast<std::size_t>(v)]; }
  /// The last use; end() for values that are kept.
  std::int32_t death(std::int32_t v) const;
  /// The last use before `when`, or the birth.
  std::int32_t before(std::int32_t v, std::int32_t when) const;
  /// The first use after `when`; -1: none.
  std::int32_t after(std::int32_t v, std::int32_t when) const;
  bool is_used_at(std::int32_t v, std::int32_t when) const;
  /// Bytes per step.
  const std::vector<std::int64_t>& live() const { return live_; }
  std::vector<std::int64_t>& live() { return live_; }

 private:
  void count_live();
  std::int64_t in_place(std::int32_t node, std::int32_t t) const;

  const Graph& graph_;
  MemoryValues values_;
  std::vector<std::int32_t> birth_, nodes_;
  std::vector<std::vector<std::int32_t>> uses_;  // times, ascending
  std::vector<char> is_viewed_;
  std::vector<std::int64_t> live_;
};

}  // namespace blockgrad
