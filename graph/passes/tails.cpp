#include "graph/passes/tails.h"

#include "blockgrad/graph/map.h"

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
    const bool is_tail = graph.nodes[i].op.as<Map>() && mine.any && mine.free;
    if (is_tail) tails[i] = {true, mine.guard};
    for (const Value v : graph.nodes[i].inputs) use(v, is_tail, mine.guard);
  }
  return tails;
}

}  // namespace blockgrad
