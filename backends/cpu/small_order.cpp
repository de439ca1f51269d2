#include "backends/cpu/small_order.h"

#include <algorithm>
#include <map>

#include "blockgrad/graph/reduce.h"
#include "blockgrad/graph/view.h"
#include "blockgrad/ops/linalg.h"
#include "graph/map_group.h"

namespace blockgrad {

namespace {

constexpr std::int64_t most_bytes = 64, most_elements = 16;

bool fits(std::int64_t elements, DType dtype) {
  return elements >= 1 && elements <= most_elements &&
         elements * static_cast<std::int64_t>(size_of(dtype)) <= most_bytes;
}

bool fits(const ScalarFn& fn, std::int64_t elements) {
  return std::all_of(fn.code().begin(), fn.code().end(),
                     [&](const ScalarInstr& instr) { return fits(elements, instr.dtype); });
}

bool is_small_product(const Operand& a, const Operand& b, const Operand& out) {
  const int rank = a.layout.shape.rank();
  const std::int64_t k = a.layout.shape[rank - 1];
  const std::int64_t m = a.layout.shape[rank - 2];
  const std::int64_t n = b.layout.shape[b.layout.shape.rank() - 1];
  return m * n == out.layout.shape.size() && fits(k, a.dtype);
}

bool is_small(const GraphNode& node, const PlanStep& step) {
  for (const Operand& out : step.outputs) {
    if (!fits(out.layout.shape.size(), out.dtype)) return false;
    if (out.place == Place::arena && out.at % most_bytes != 0) return false;
  }
  if (const ScalarFn* fn = formula_of(node.op)) {
    for (std::size_t s = 0; s < step.outputs.size(); s += fn->results().size()) {
      if (!fits(*fn, step.outputs[s].layout.shape.size())) return false;
    }
    return true;
  }
  if (node.op.as<Reduce>())
    return fits(step.inputs[0].layout.shape.size(), step.inputs[0].dtype) &&
           size_of(step.inputs[0].dtype) != 2;
  if (node.op.as<MatMul>())
    return is_small_product(step.inputs[0], step.inputs[1], step.outputs[0]);
  return false;
}

class Ordering {
 public:
  Ordering(const Graph& graph, const Plan& plan) : graph_(graph), plan_(plan) {}

  SmallOrder run() {
    order_entries();
    find_readers();
    return std::move(order_);
  }

 private:
  using Kind = StepItem::Kind;
  using Entry = SmallOrder::Entry;

  const GraphNode& node(std::int32_t i) const { return graph_.nodes[static_cast<std::size_t>(i)]; }

  // Steps as planned; small updates right behind, which large ones do not mind; all commits last.
  void order_entries() {
    std::int32_t segment = -1;
    bool open = false;
    const auto add = [&](Kind kind, std::size_t number, bool small) {
      if (small && !open) ++segment;
      open = small;
      order_.entries.push_back({kind, number, small ? segment : -1});
    };
    for (std::size_t t = 0; t < plan_.steps.size(); ++t)
      add(Kind::step, t, is_small(node(plan_.steps[t].node), plan_.steps[t]));
    for (const bool small : {true, false}) {
      for (std::size_t u = 0; u < plan_.updates.size(); ++u) {
        const PlanStep& step = plan_.updates[u];
        if (is_small(node(step.node), step) == small) add(Kind::update, u, small);
      }
    }
    for (const bool small : {true, false}) {
      for (std::size_t c = 0; c < plan_.commits.size(); ++c) {
        const Commit& commit = plan_.commits[c];
        const Operand& source = commit.source;
        const bool is_aligned = source.place == Place::arena && source.at % most_bytes == 0;
        if ((is_aligned && fits(source.layout.shape.size(), source.dtype)) == small)
          add(Kind::commit, c, small);
      }
    }
    order_.segments = static_cast<std::size_t>(segment + 1);
  }

  // Which results something outside of their segment reads.
  void find_readers() {
    std::vector<std::int32_t> segment_of(graph_.nodes.size(), -1);
    for (const Entry& entry : order_.entries) {
      if (entry.kind != Kind::commit)
        segment_of[static_cast<std::size_t>(order_.step(plan_, entry).node)] = entry.segment;
    }
    order_.is_read_outside.resize(graph_.nodes.size());
    for (std::size_t n = 0; n < graph_.nodes.size(); ++n)
      order_.is_read_outside[n].assign(graph_.nodes[n].types.size(), 0);
    const auto read = [&](Value v, std::int32_t segment) {
      const Value source = graph_.base(v);
      if (segment < 0 || segment_of[static_cast<std::size_t>(source.node)] != segment)
        order_.is_read_outside[static_cast<std::size_t>(source.node)]
                              [static_cast<std::size_t>(source.result)] = 1;
    };
    for (const Value v : graph_.outputs) read(v, -1);
    std::map<std::int64_t, std::int32_t> committing;  // segment by storage
    for (const Entry& entry : order_.entries) {
      if (entry.kind == Kind::commit)
        committing[plan_.commits[entry.number].storage] = entry.segment;
      else
        for (const Value v : node(order_.step(plan_, entry).node).inputs) read(v, entry.segment);
    }
    std::vector<std::int32_t> storage_of(graph_.nodes.size(), -1);
    for (std::size_t s = 0; s < plan_.storages.size(); ++s)
      storage_of[static_cast<std::size_t>(plan_.storages[s])] = static_cast<std::int32_t>(s);
    for (const GraphUpdate& u : graph_.updates) {
      const auto commit = committing.find(storage_of[static_cast<std::size_t>(u.leaf.node)]);
      const bool is_commit = commit != committing.end();
      const std::int32_t by =
          is_commit ? commit->second : segment_of[static_cast<std::size_t>(u.value.node)];
      if (is_commit) read(u.value, by);
      if (u.guard) read(u.guard, by);
    }
  }

  const Graph& graph_;
  const Plan& plan_;
  SmallOrder order_;
};

}  // namespace

bool SmallOrder::is_one_segment() const {
  return std::all_of(entries.begin(), entries.end(),
                     [](const Entry& entry) { return entry.segment == 0; });
}

std::vector<StepItem> SmallOrder::items() const {
  using Kind = StepItem::Kind;
  std::vector<StepItem> all;
  for (const Entry& entry : entries) {
    const auto segment = static_cast<std::size_t>(entry.segment);
    if (entry.segment < 0) all.push_back({entry.kind, entry.number});
    else if (all.empty() || all.back().kind != Kind::segment || all.back().number != segment)
      all.push_back({Kind::segment, segment});
  }
  return all;
}

SmallOrder order_small_steps(const Graph& graph, const Plan& plan) {
  return Ordering(graph, plan).run();
}

}  // namespace blockgrad
