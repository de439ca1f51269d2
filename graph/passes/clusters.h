#pragma once
// What passes share that join nodes into clusters: which joins make no circle, and the order in
// which clusters and other nodes are emitted.

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <span>
#include <utility>
#include <vector>

#include "graph/graph.h"

namespace blockgrad {

/// Which clusters a node may join without making the clusters wait for each other in a circle. For
/// every node the mask of open clusters among its ancestors is kept, and for every open cluster the
/// mask of those it waits for. When all bits are in use, all clusters are closed and counting
/// starts again; a node of an earlier epoch cannot wait for a cluster of a later one, so its mask
/// counts as empty.
class Clusters {
 public:
  static constexpr int most_open = 64;  // clusters that may still grow, one bit each

  explicit Clusters(std::size_t nodes)
      : cluster_(nodes, -1), ancestors_(nodes, 0), epoch_(nodes, -1) {}

  std::int32_t cluster_of(std::int32_t node) const {
    return cluster_[static_cast<std::size_t>(node)];
  }
  const std::vector<std::vector<std::int32_t>>& members() const { return members_; }
  bool is_open(std::int32_t cluster) const { return cluster >= first_open_; }

  /// All open clusters that a node with these inputs waits for, not counting `own`.
  std::uint64_t waits_for(std::span<const Value> inputs, std::int32_t own) const {
    Mask mask = 0;
    for (const Value v : inputs) {
      const auto n = static_cast<std::size_t>(v.node);
      const std::int32_t c = cluster_[n];
      if (c >= 0 && c == own) continue;
      if (epoch_[n] == current_epoch_) mask |= ancestors_[n];
      if (c >= 0 && is_open(c)) mask |= bit(c);
    }
    Mask closed = mask;
    for (Mask rest = mask; rest != 0; rest &= rest - 1)
      closed |= waiting_[static_cast<std::size_t>(__builtin_ctzll(rest))];
    return closed;
  }

  bool may_join(std::span<const Value> inputs, std::int32_t cluster) const {
    return is_open(cluster) && !(waits_for(inputs, cluster) & bit(cluster));
  }

  void add_plain(std::int32_t node, std::span<const Value> inputs) {
    remember(node, waits_for(inputs, -1));
  }

  void join(std::int32_t node, std::span<const Value> inputs, std::int32_t cluster) {
    const Mask news = waits_for(inputs, cluster);
    waiting_[slot(cluster)] |= news;
    for (Mask& waiting : waiting_) {
      if (waiting & bit(cluster)) waiting |= news;
    }
    enter(node, cluster);
  }

  /// Closes all clusters unless so many more, at most most_open, may be opened beside them.
  void reserve(std::int32_t count) {
    const auto all = static_cast<std::int32_t>(members_.size());
    if (all - first_open_ + count <= most_open) return;
    first_open_ = all;
    waiting_.fill(0);
    ++current_epoch_;
  }

  void open(std::int32_t node, std::span<const Value> inputs) {
    reserve(1);
    const auto cluster = static_cast<std::int32_t>(members_.size());
    members_.emplace_back();
    waiting_[slot(cluster)] = waits_for(inputs, -1);
    enter(node, cluster);
  }

  /// Whether two open clusters and a node that joins them may become one: then no way from one of
  /// the three to another leads through a node of none.
  bool may_merge(const Graph& graph, std::int32_t a, std::int32_t b, std::int32_t node) const {
    if (a == b || !is_open(a) || !is_open(b)) return false;
    for (const std::int32_t c : {a, b}) {
      for (const std::int32_t m : members_[static_cast<std::size_t>(c)]) {
        if (waits_by_others(graph, m, a, b)) return false;
      }
    }
    return !waits_by_others(graph, node, a, b);
  }

  /// The members of `from` join `into`. What waits for the one now waits for the other.
  void merge(std::int32_t into, std::int32_t from) {
    auto& members = members_[static_cast<std::size_t>(into)];
    auto& others = members_[static_cast<std::size_t>(from)];
    for (const std::int32_t node : others) cluster_[static_cast<std::size_t>(node)] = into;
    std::vector<std::int32_t> all;
    all.reserve(members.size() + others.size());
    std::merge(members.begin(), members.end(), others.begin(), others.end(),
               std::back_inserter(all));
    members = std::move(all);
    others.clear();
    const Mask both = bit(into) | bit(from);
    const Mask joint = (waiting_[slot(into)] | waiting_[slot(from)]) & ~both;
    for (Mask& waiting : waiting_) {
      if (waiting & both) waiting |= joint | both;
    }
    waiting_[slot(into)] = joint;
    waiting_[slot(from)] = joint | bit(into);
  }

 private:
  using Mask = std::uint64_t;

  // Whether a node waits for a or b through a node that is in neither.
  bool waits_by_others(const Graph& graph, std::int32_t node, std::int32_t a,
                       std::int32_t b) const {
    for (const Value& v : graph.nodes[static_cast<std::size_t>(node)].inputs) {
      const std::int32_t c = cluster_of(v.node);
      if (c != a && c != b && (waits_for(std::span(&v, 1), -1) & (bit(a) | bit(b)))) return true;
    }
    return false;
  }

  std::size_t slot(std::int32_t cluster) const {
    return static_cast<std::size_t>(cluster - first_open_);
  }
  Mask bit(std::int32_t cluster) const { return Mask{1} << slot(cluster); }

  void remember(std::int32_t node, Mask mask) {
    ancestors_[static_cast<std::size_t>(node)] = mask;
    epoch_[static_cast<std::size_t>(node)] = current_epoch_;
  }

  void enter(std::int32_t node, std::int32_t cluster) {
    cluster_[static_cast<std::size_t>(node)] = cluster;
    members_[static_cast<std::size_t>(cluster)].push_back(node);
    remember(node, waiting_[slot(cluster)]);
  }

  std::vector<std::int32_t> cluster_;
  std::vector<Mask> ancestors_;
  std::vector<std::int32_t> epoch_;
  std::vector<std::vector<std::int32_t>> members_;
  std::array<Mask, most_open> waiting_{};
  std::int32_t first_open_ = 0;
  std::int32_t current_epoch_ = 0;
};

/// Emits groups of nodes when all that they read from outside is there: `members(i)` are the nodes
/// of i's group, `is_inside(m, v)` says whether member m finds its input v in its own group, and
/// `emit` writes a group. Walks with an explicit stack.
template <class Members, class IsInside, class Emit>
void for_each_ready_group(const Graph& graph, Members members, IsInside is_inside, Emit emit) {
  const auto size = static_cast<std::int32_t>(graph.nodes.size());
  std::vector<char> done(graph.nodes.size(), 0);
  std::vector<std::int32_t> stack;
  for (std::int32_t root = 0; root < size; ++root) {
    stack.push_back(root);
    while (!stack.empty()) {
      const std::int32_t i = stack.back();
      if (done[static_cast<std::size_t>(i)]) {
        stack.pop_back();
        continue;
      }
      const std::span<const std::int32_t> group = members(i);
      const std::size_t before = stack.size();
      for (const std::int32_t m : group) {
        for (const Value v : graph.nodes[static_cast<std::size_t>(m)].inputs) {
          if (!is_inside(m, v) && !done[static_cast<std::size_t>(v.node)]) stack.push_back(v.node);
        }
      }
      if (stack.size() != before) continue;
      emit(group);
      for (const std::int32_t m : group) done[static_cast<std::size_t>(m)] = 1;
    }
  }
}

}  // namespace blockgrad
