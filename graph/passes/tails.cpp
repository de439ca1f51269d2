#include "graph/passes/tails.h"

#include <algorithm>
#include <numeric>

#include "blockgrad/graph/map.h"
#include "blockgrad/graph/put_rows.h"

namespace blockgrad {

std::vector<Tail> find_tails(const Graph& graph) {
  struct Use {
    bool any = false, free = true;
    Value guard;
  };
  std::vector<Tail> tails(graph.nodes.size());
  std::vector<Use> uses(graph.nodes.size());
  const auto use = [&](Value v, bool as_tail, Value guard) {
    if (!v) return;
    Use& u = uses[static_cast<std::size_t>(v.node)];
    u.free = u.free && as_tail && (!u.any || u.guard == guard);
    u.any = true;
    u.guard = guard;
  };
  for (const Value v : graph.outputs) use(v, false, {});
  for (const GraphUpdate& u : graph.updates) {
    use(u.value, true, u.guard);
    use(u.guard, false, {});
  }
  for (std::size_t i = graph.nodes.size(); i-- > 0;) {
    const Use& mine = uses[i];
    const Op& op = graph.nodes[i].op;
    const bool is_tail = (op.as<Map>() || op.as<PutRows>()) && mine.any && mine.free;
    if (is_tail) tails[i] = {true, mine.guard};
    for (const Value v : graph.nodes[i].inputs) use(v, is_tail, mine.guard);
  }
  return tails;
}

std::vector<std::int32_t> find_chains(const Graph& graph) {
  const std::vector<Tail> tails = find_tails(graph);
  std::vector<std::int32_t> first(graph.nodes.size(), -1);
  const auto root = [&](std::int32_t i) {
    while (first[static_cast<std::size_t>(i)] != i) i = first[static_cast<std::size_t>(i)];
    return i;
  };
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    if (!tails[i].is_tail) continue;
    first[i] = static_cast<std::int32_t>(i);
    for (const Value v : graph.nodes[i].inputs) {
      if (!tails[static_cast<std::size_t>(v.node)].is_tail) continue;
      const std::int32_t mine = root(static_cast<std::int32_t>(i)), other = root(v.node);
      first[static_cast<std::size_t>(std::max(mine, other))] = std::min(mine, other);
    }
  }
  // What a node points at is its own number or less, so it is the first by now.
  for (std::int32_t& f : first) {
    if (f >= 0) f = first[static_cast<std::size_t>(f)];
  }
  return first;
}

Graph tails_last(const Graph& graph, std::vector<std::int32_t>& before) {
  const std::vector<std::int32_t> chains = find_chains(graph);
  before.resize(graph.nodes.size());
  std::iota(before.begin(), before.end(), 0);
  std::stable_sort(before.begin(), before.end(), [&](std::int32_t a, std::int32_t b) {
    return chains[static_cast<std::size_t>(a)] < chains[static_cast<std::size_t>(b)];
  });
  std::vector<std::int32_t> now(before.size());
  for (std::size_t i = 0; i < before.size(); ++i)
    now[static_cast<std::size_t>(before[i])] = static_cast<std::int32_t>(i);
  const auto moved = [&](Value v) {
    return v ? Value{now[static_cast<std::size_t>(v.node)], v.result} : v;
  };
  Graph result;
  for (const std::int32_t i : before) {
    result.nodes.push_back(graph.nodes[static_cast<std::size_t>(i)]);
    for (Value& v : result.nodes.back().inputs) v = moved(v);
  }
  for (const Value v : graph.outputs) result.outputs.push_back(moved(v));
  for (const GraphUpdate& u : graph.updates)
    result.updates.push_back({moved(u.leaf), moved(u.value), moved(u.guard)});
  return result;
}

}  // namespace blockgrad
