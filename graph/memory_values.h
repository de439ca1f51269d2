#pragma once
// The values of a graph that a program has to find memory for, numbered, and which nodes make and
// read them. Leaves lie elsewhere, and a View names the memory of what it is taken from.

#include <cstdint>
#include <span>
#include <vector>

#include "graph/graph.h"

namespace blockgrad {

class MemoryValues {
 public:
  explicit MemoryValues(const Graph& graph);

  std::int32_t nodes() const { return static_cast<std::int32_t>(graph_.nodes.size()); }
  std::int32_t values() const { return static_cast<std::int32_t>(bytes_.size()); }
  /// Whether the node runs: neither a leaf nor a View.
  bool is_work(std::int32_t node) const { return is_work_[static_cast<std::size_t>(node)] != 0; }
  /// Whether the node makes new values of storage, which nothing else reads: it may run at the end.
  bool is_last(std::int32_t node) const { return is_last_[static_cast<std::size_t>(node)] != 0; }
  /// The values of a node are [first(node), first(node + 1)).
  std::int32_t first(std::int32_t node) const { return first_[static_cast<std::size_t>(node)]; }
  std::int32_t maker(std::int32_t value) const { return maker_[static_cast<std::size_t>(value)]; }
  /// In whole cache lines; 0 where the node is no work.
  std::int64_t bytes(std::int32_t value) const { return bytes_[static_cast<std::size_t>(value)]; }
  /// Whether the value stays to the end of the run: outputs, new values, and what the last nodes
  /// read.
  bool is_kept(std::int32_t value) const { return is_kept_[static_cast<std::size_t>(value)] != 0; }
  /// The value behind v; -1 for a leaf.
  std::int32_t number(Value v) const;
  /// The values that a node reads, each once, in order of its inputs.
  std::span<const std::int32_t> reads(std::int32_t node) const { return read_.of(node); }
  /// The nodes that run and read a value, ascending.
  std::span<const std::int32_t> readers(std::int32_t value) const { return readers_.of(value); }

 private:
  // Lists one behind the other.
  struct Lists {
    std::vector<std::int32_t> first, numbers;
    std::span<const std::int32_t> of(std::int32_t list) const {
      const auto l = static_cast<std::size_t>(list);
      return std::span(numbers).subspan(static_cast<std::size_t>(first[l]),
                                        static_cast<std::size_t>(first[l + 1] - first[l]));
    }
  };

  void find_reads();
  void find_last();

  const Graph& graph_;
  std::vector<std::int32_t> first_, maker_;
  Lists read_, readers_;
  std::vector<std::int64_t> bytes_;
  std::vector<char> is_work_, is_last_, is_kept_;
};

}  // namespace blockgrad
