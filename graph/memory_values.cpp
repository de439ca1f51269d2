#include "graph/memory_values.h"

#include <numeric>
#include <utility>

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
  find_reads();
  find_last();
}

std::int32_t MemoryValues::number(Value v) const {
  v = graph_.base(v);
  return is_work(v.node) ? first(v.node) + v.result : -1;
}

void MemoryValues::find_reads() {
  std::vector<std::int32_t> last_reader(bytes_.size(), -1), count(bytes_.size() + 1, 0);
  for (std::int32_t i = 0; i < nodes(); ++i) {
    read_.first.push_back(static_cast<std::int32_t>(read_.numbers.size()));
    for (const Value in : graph_.nodes[static_cast<std::size_t>(i)].inputs) {
      const std::int32_t v = number(in);
      if (v < 0 || std::exchange(last_reader[static_cast<std::size_t>(v)], i) == i) continue;
      read_.numbers.push_back(v);
      count[static_cast<std::size_t>(v)] += is_work(i);
    }
  }
  read_.first.push_back(static_cast<std::int32_t>(read_.numbers.size()));
  std::exclusive_scan(count.begin(), count.end(), count.begin(), 0);
  readers_.first = count;
  readers_.numbers.resize(static_cast<std::size_t>(count.back()));
  for (std::int32_t i = 0; i < nodes(); ++i) {
    if (!is_work(i)) continue;
    for (const std::int32_t v : reads(i))
      readers_.numbers[static_cast<std::size_t>(count[static_cast<std::size_t>(v)]++)] = i;
  }
}

void MemoryValues::find_last() {
  const auto uses = use_counts(graph_);
  std::vector<std::int32_t> new_values(graph_.nodes.size(), 0);
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
    for (const std::int32_t count : uses.of(i)) readers += count;
    if (!is_work(i) || new_values[n] == 0 || new_values[n] != readers) continue;
    is_last_[n] = 1;
    for (const std::int32_t value : reads(i)) is_kept_[static_cast<std::size_t>(value)] = 1;
  }
}

}  // namespace blockgrad
