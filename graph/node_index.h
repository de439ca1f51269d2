#pragma once
// NodeIndex: numbers for nodes, by open addressing. Nodes are only looked up, never iterated, so no
// result depends on where they lie in memory.

#include <cstdint>
#include <utility>
#include <vector>

namespace blockgrad {

struct Node;

class NodeIndex {
 public:
  static constexpr std::int32_t none = -1;

  /// The number of a node, or none.
  std::int32_t find(const Node* node) const {
    if (slots_.empty()) return none;
    for (std::size_t at = start(node);; at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at].first == node) return slots_[at].second;
      if (!slots_[at].first) return none;
    }
  }

  /// Gives a node its number unless it has one; returns whether it is new.
  bool add(const Node* node, std::int32_t number) {
    if (2 * (count_ + 1) > slots_.size()) grow();
    for (std::size_t at = start(node);; at = (at + 1) & (slots_.size() - 1)) {
      if (slots_[at].first == node) return false;
      if (slots_[at].first) continue;
      slots_[at] = {node, number};
      ++count_;
      return true;
    }
  }

  std::size_t size() const { return count_; }

 private:
  std::size_t start(const Node* node) const {
    const auto bits = reinterpret_cast<std::uintptr_t>(node);
    return static_cast<std::size_t>((bits >> 4) * 0x9E3779B97F4A7C15u >> 20) & (slots_.size() - 1);
  }

  void grow() {
    std::vector<std::pair<const Node*, std::int32_t>> old(
        slots_.empty() ? 64 : slots_.size() * 2,
        std::pair<const Node*, std::int32_t>{nullptr, none});
    old.swap(slots_);
    count_ = 0;
    for (const auto& [node, number] : old) {
      if (node) add(node, number);
    }
  }

  std::vector<std::pair<const Node*, std::int32_t>> slots_;  // a power of two, at most half full
  std::size_t count_ = 0;
};

}  // namespace blockgrad
