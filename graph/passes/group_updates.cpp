#include <algorithm>
#include <unordered_map>

#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"
#include "graph/map_group.h"
#include "graph/passes/passes.h"

namespace blockgrad {

namespace {

// Maps whose results are new values of storage and nothing else may run at any time after their
// inputs, so those of one formula and guard run together. Each reads its own storage as it was
// before, so none may read what another one of the group writes.
class Grouping {
 public:
  explicit Grouping(const Graph& graph)
      : graph_(graph), group_of_(graph.nodes.size(), -1), writer_(graph.nodes.size(), -1) {}

  Graph run() {
    find_updates();
    join_updates();
    Rewrite rewrite(graph_);
    for (std::int32_t i = 0; i < size(); ++i) {
      const std::int32_t group = group_of_[index(i)];
      if (group < 0 || groups_[index(group)].size() == 1) rewrite.keep(i);
      else if (groups_[index(group)].back() == i) add_group(rewrite, groups_[index(group)]);
      else continue;
    }
    return rewrite.finish();
  }

 private:
  static std::size_t index(std::int32_t i) { return static_cast<std::size_t>(i); }
  std::int32_t size() const { return static_cast<std::int32_t>(graph_.nodes.size()); }
  const GraphNode& at(std::int32_t i) const { return graph_.nodes[index(i)]; }
  bool is_view(Value v) const { return graph_.node(v).op.as<View>() != nullptr; }

  // Maps that may join a group, and their guards.
  void find_updates() {
    const ValueTable<std::int32_t> uses = use_counts(graph_);
    std::vector<std::size_t> results(graph_.nodes.size(), 0);
    guards_.resize(graph_.nodes.size());
    std::vector<char> has_one_guard(graph_.nodes.size(), 1);
    for (const GraphUpdate& u : graph_.updates) {
      const std::size_t i = index(u.value.node);
      has_one_guard[i] = results[i] == 0 || (has_one_guard[i] && guards_[i] == u.guard);
      guards_[i] = u.guard;
      ++results[i];
    }
    is_update_.assign(graph_.nodes.size(), 0);
    for (std::int32_t i = 0; i < size(); ++i) {
      const auto mine = uses.of(i);
      is_update_[index(i)] = at(i).op.as<Map>() && has_one_guard[index(i)] &&
                             results[index(i)] == at(i).types.size() &&
                             std::all_of(mine.begin(), mine.end(), [](auto n) { return n == 1; });
    }
    for (const GraphUpdate& u : graph_.updates) writer_[index(u.leaf.node)] = u.value.node;
    for (std::int32_t i = 0; i < size(); ++i) {
      if (results[index(i)] == 0) continue;
      for (const Value v : at(i).inputs) note_read(i, v);
    }
  }

  // Storage that the update of other storage reads, or its own one in another order than it writes.
  void note_read(std::int32_t i, Value v) {
    const std::int32_t writer = writer_[index(graph_.base(v).node)];
    if (writer < 0 || (writer == i && !is_view(v))) return;
    is_update_[index(i)] = 0;
    is_update_[index(writer)] = 0;
  }

  void join_updates() {
    std::unordered_multimap<std::size_t, std::int32_t> known;  // by formula; looked up only
    for (std::int32_t i = 0; i < size(); ++i) {
      if (!is_update_[index(i)]) continue;
      const ScalarFn& fn = at(i).op.as<Map>()->fn;
      const auto [first, last] = known.equal_range(fn.hash());
      for (auto it = first; it != last && group_of_[index(i)] < 0; ++it) {
        const std::int32_t other = groups_[index(it->second)][0];
        if (at(other).op == at(i).op && guards_[index(other)] == guards_[index(i)])
          group_of_[index(i)] = it->second;
      }
      if (group_of_[index(i)] < 0) {
        group_of_[index(i)] = static_cast<std::int32_t>(groups_.size());
        known.emplace(fn.hash(), group_of_[index(i)]);
        groups_.emplace_back();
      }
      groups_[index(group_of_[index(i)])].push_back(i);
    }
  }

  void add_group(Rewrite& rewrite, const std::vector<std::int32_t>& members) const {
    const Origin& first = at(members[0]).origin;
    GraphNode node{MapGroup{at(members[0]).op.as<Map>()->fn}, {}, {}, {first.where, {}, {}, {}}};
    for (const std::int32_t m : members) {
      for (const Value v : at(m).inputs) node.inputs.push_back(rewrite.renamed(v));
      node.types.insert(node.types.end(), at(m).types.begin(), at(m).types.end());
    }
    const std::int32_t made = rewrite.add(std::move(node));
    std::int32_t result = 0;
    for (const std::int32_t m : members) {
      for (std::int32_t r = 0; r < static_cast<std::int32_t>(at(m).types.size()); ++r)
        rewrite.rename({m, r}, {made, result++});
    }
  }

  const Graph& graph_;
  std::vector<std::int32_t> group_of_;             // per node, -1: none
  std::vector<std::int32_t> writer_;               // per leaf
  std::vector<Value> guards_;                      // per node
  std::vector<char> is_update_;                    // per node: may join a group
  std::vector<std::vector<std::int32_t>> groups_;  // members in order
};

}  // namespace

Graph group_updates(const Graph& graph) { return Grouping(graph).run(); }

}  // namespace blockgrad
