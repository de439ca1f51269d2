#include "graph/memory_peak.h"

#include <algorithm>

#include "blockgrad/graph/view.h"
#include "graph/arena_layout.h"
#include "graph/step_cost.h"

namespace blockgrad {

namespace {

struct Life {
  Value value;
  std::int64_t bytes = 0;
  std::int32_t birth = 0, death = 0;  // steps, both included
  std::int32_t whole = -1;            // the life of the value that this one is a part of
};

class Lives {
 public:
  Lives(const Graph& graph, const Plan& plan) : graph_(graph), first_(number()) {
    const auto end = static_cast<std::int32_t>(plan.steps.size()) - 1;
    for (std::int32_t t = 0; t <= end; ++t) add_step(t, plan.steps[static_cast<std::size_t>(t)]);
    for (const PlanStep& step : plan.updates) {
      for (const Value v : graph.nodes[static_cast<std::size_t>(step.node)].inputs) use(v, end);
    }
    for (const Value v : graph.outputs) use(v, end);
    for (const GraphUpdate& u : graph.updates) {
      use(u.value, end);
      if (u.guard) use(u.guard, end);
    }
  }

  const std::vector<Life>& all() const { return lives_; }

 private:
  std::vector<std::int32_t> number() const {
    return std::vector<std::int32_t>(graph_.nodes.size(), -1);
  }

  Life* life(Value v) {
    v = graph_.base(v);
    const std::int32_t first = first_[static_cast<std::size_t>(v.node)];
    if (first < 0) return nullptr;
    Life* l = &lives_[static_cast<std::size_t>(first + v.result)];
    while (l->whole >= 0) l = &lives_[static_cast<std::size_t>(l->whole)];
    return l;
  }

  void use(Value v, std::int32_t time) {
    if (Life* l = life(v)) l->death = std::max(l->death, time);
  }

  void add_step(std::int32_t time, const PlanStep& step) {
    const GraphNode& node = graph_.nodes[static_cast<std::size_t>(step.node)];
    for (const Value v : node.inputs) use(v, time);
    first_[static_cast<std::size_t>(step.node)] = static_cast<std::int32_t>(lives_.size());
    for (std::size_t r = 0; r < step.outputs.size(); ++r) {
      const TensorType& type = node.types[r];
      lives_.push_back({{step.node, static_cast<std::int32_t>(r)}, bytes_of(type), time, time});
      // A result in place of an input: the input's life ends where this one begins.
      for (std::size_t n = 0; n < step.inputs.size(); ++n) {
        const Operand& in = step.inputs[n];
        const std::int64_t from = in.at - step.outputs[r].at;
        if (in.place != Place::arena || from < 0 || from >= bytes_of(type)) continue;
        Life* const before = life(node.inputs[n]);
        if (!before || before == &lives_.back()) continue;
        if (node.op.as<Unview>() || is_copied_already(node, step)) join(*before);
        else if (from == 0) before->death = time - 1;
      }
    }
  }

  // What was made where the last value wants it.
  void join(Life& part) {
    lives_.back().birth = std::min(lives_.back().birth, part.birth);
    part.whole = static_cast<std::int32_t>(lives_.size()) - 1;
    part.death = part.birth - 1;
  }

  const Graph& graph_;
  std::vector<std::int32_t> first_;  // per node: its first life; -1: not in the arena
  std::vector<Life> lives_;
};

}  // namespace

MemoryPeak memory_peak(const Graph& graph, const Plan& plan) {
  constexpr std::size_t most = 5;
  const Lives lives(graph, plan);
  std::vector<std::int64_t> change(plan.steps.size() + 1, 0);
  for (const Life& life : lives.all()) {
    if (life.death < life.birth) continue;
    change[static_cast<std::size_t>(life.birth)] += whole_lines(life.bytes);
    change[static_cast<std::size_t>(life.death) + 1] -= whole_lines(life.bytes);
  }
  MemoryPeak peak;
  std::int64_t now = 0;
  for (std::size_t t = 0; t < plan.steps.size(); ++t) {
    now += change[t];
    if (now <= peak.bytes) continue;
    peak.bytes = now;
    peak.step = static_cast<std::int32_t>(t);
  }
  for (const Life& life : lives.all()) {
    if (life.birth <= peak.step && peak.step <= life.death && life.bytes > 0)
      peak.largest.push_back({life.value, life.bytes});
  }
  std::stable_sort(peak.largest.begin(), peak.largest.end(),
                   [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
  peak.largest.resize(std::min(peak.largest.size(), most));
  return peak;
}

}  // namespace blockgrad
