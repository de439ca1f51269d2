#include "graph/timeline.h"

#include <algorithm>

#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"
#include "graph/row_program.h"

namespace blockgrad {

Timeline::Timeline(const Graph& graph) : graph_(graph), values_(graph) {
  const auto count = static_cast<std::size_t>(values_.values());
  birth_.assign(count, 0);
  uses_.resize(count);
  is_viewed_.assign(count, 0);
  for (std::int32_t i = 0; i < values_.nodes(); ++i) {
    const GraphNode& node = graph.nodes[static_cast<std::size_t>(i)];
    const std::int32_t viewed = node.op.as<View>() ? values_.number(node.inputs[0]) : -1;
    if (viewed >= 0) is_viewed_[static_cast<std::size_t>(viewed)] = 1;
    if (!values_.is_work(i) || values_.is_last(i)) continue;
    for (std::int32_t v = values_.first(i); v < values_.first(i + 1); ++v)
      birth_[static_cast<std::size_t>(v)] = end();
    for (const std::int32_t v : values_.reads(i))
      uses_[static_cast<std::size_t>(v)].push_back(end());
    nodes_.push_back(i);
  }
  count_live();
}

std::int32_t Timeline::death(std::int32_t v) const {
  if (values_.is_kept(v)) return end();
  const auto& uses = uses_[static_cast<std::size_t>(v)];
  return uses.empty() ? birth(v) : uses.back();
}

std::int32_t Timeline::before(std::int32_t v, std::int32_t when) const {
  const auto& uses = uses_[static_cast<std::size_t>(v)];
  const auto next = std::lower_bound(uses.begin(), uses.end(), when);
  return next == uses.begin() ? birth(v) : *(next - 1);
}

std::int32_t Timeline::after(std::int32_t v, std::int32_t when) const {
  const auto& uses = uses_[static_cast<std::size_t>(v)];
  const auto next = std::upper_bound(uses.begin(), uses.end(), when);
  return next == uses.end() ? -1 : *next;
}

bool Timeline::is_used_at(std::int32_t v, std::int32_t when) const {
  const auto& uses = uses_[static_cast<std::size_t>(v)];
  return std::binary_search(uses.begin(), uses.end(), when);
}

void Timeline::count_live() {
  std::vector<std::int64_t> change(static_cast<std::size_t>(end()) + 2, 0);
  for (const std::int32_t node : nodes_) {
    for (std::int32_t v = values_.first(node); v < values_.first(node + 1); ++v) {
      change[static_cast<std::size_t>(birth(v))] += values_.bytes(v);
      change[static_cast<std::size_t>(death(v)) + 1] -= values_.bytes(v);
    }
  }
  live_.assign(static_cast<std::size_t>(end()), 0);
  std::int64_t now = 0;
  for (std::int32_t t = 0; t < end(); ++t) {
    now += change[static_cast<std::size_t>(t)];
    live_[static_cast<std::size_t>(t)] = now - in_place(node_at(t), t);
  }
}

// Results of a Map or RowProgram write over inputs that die with it, as the plan has it.
std::int64_t Timeline::in_place(std::int32_t node, std::int32_t t) const {
  const GraphNode& n = graph_.nodes[static_cast<std::size_t>(node)];
  if (!n.op.as<Map>() && !n.op.as<RowProgram>()) return 0;
  std::vector<std::int32_t> taken;
  std::int64_t sum = 0;
  for (std::int32_t result = values_.first(node); result < values_.first(node + 1); ++result) {
    for (const Value in : n.inputs) {
      const std::int32_t v = values_.number(in);
      if (v < 0 || is_viewed_[static_cast<std::size_t>(v)] || values_.is_kept(v) || death(v) != t ||
          values_.bytes(v) != values_.bytes(result) ||
          std::find(taken.begin(), taken.end(), v) != taken.end())
        continue;
      taken.push_back(v);
      sum += values_.bytes(v);
      break;
    }
  }
  return sum;
}

}  // namespace blockgrad
