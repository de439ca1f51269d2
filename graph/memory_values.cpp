#include "graph/memory_values.h"

#include <algorithm>

#include "blockgrad/graph/view.h"
#include "graph/arena_layout.h"

namespace blockgrad {

MemoryValues::MemoryValues(const Graph& graph) : graph_(graph) {
  for (std::int32_t i = 0; i < nodes(); ++i) {
    const GraphNode& node = graph.nodes[static_cast<std::size_t>(i)];
    is_work_.push_back(!is_leaf(node) && !node.op.as<View>());
    first_.push_back(values());
    for (const TensorType& type : node.types) {
      bytes_.push_back(is_work(i) ? whole_lines(bytes_of(type)) : 0);
      maker_.push_back(i);
    }
  }
  first_.push_back(values());
  is_last_.assign(graph.nodes.size(), 0);
  is_kept_.assign(bytes_.size(), 0);
  find_last();
}

std::int32_t MemoryValues::number(Value v) const {
  while (graph_.node(v).op.as<View>()) v = graph_.node(v).inputs[0];
  return is_work(v.node) ? first(v.node) + v.result : -1;
}

void MemoryValues::reads(std::int32_t node, std::vector<std::int32_t>& read) const {
  read.clear();
  for (const Value v : graph_.nodes[static_cast<std::size_t>(node)].inputs) {
    const std::int32_t value = number(v);
    if (value >= 0 && std::find(read.begin(), read.end(), value) == read.end())
      read.push_back(value);
  }
}

void MemoryValues::find_last() {
  const auto uses = use_counts(graph_);
  std::vector<std::int32_t> new_values(graph_.nodes.size(), 0), read;
  const auto keep = [&](Value v) {
    if (const std::int32_t value = v ? number(v) : -1; value >= 0)
      is_kept_[static_cast<std::size_t>(value)] = 1;
  };
  for (const Value v : graph_.outputs) keep(v);
  for (const GraphUpdate& u : graph_.updates) {
    ++new_values[static_cast<std::size_t>(u.value.node)];
    keep(u.value);
    keep(u.guard);
  }
  for (std::int32_t i = 0; i < nodes(); ++i) {
    const auto n = static_cast<std::size_t>(i);
    std::int32_t readers = 0;
    for (const std::int32_t count : uses[n]) readers += count;
    if (!is_work(i) || new_values[n] == 0 || new_values[n] != readers) continue;
    is_last_[n] = 1;
    reads(i, read);
    for (const std::int32_t value : read) is_kept_[static_cast<std::size_t>(value)] = 1;
  }
}

}  // namespace blockgrad
