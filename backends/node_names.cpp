#include "backends/node_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "blockgrad/graph/map.h"

namespace blockgrad {

std::string plural(std::size_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

bool is_copy(const GraphNode& node) {
  const Map* map = node.op.as<Map>();
  return map && map->short_name == "copy";
}

std::string op_text(std::string_view name, const Origin& origin) {
  if (origin.role == gradient_role) return fmt::format("{} {}", origin.role, origin.of);
  if (origin.role == inside_role) return fmt::format("{}.{}", origin.of, name);
  return std::string(name);
}
std::string op_text(const GraphNode& node) {
  return is_copy(node) ? "copy" : op_text(node.op->name(), node.origin);
}

std::vector<std::string> step_texts(const RowProgram& program) {
  std::vector<std::string> names(program.takes.size(), "take");
  for (const RowStep& step : program.steps) names.push_back(op_text(step.name, step.origin));
  for (const RowProgram::Result& result : program.results) {
    if (result.over > 1) names.push_back("sum over lines");
  }
  return names;
}

std::string update_text(std::string_view name, const Origin& origin) {
  const std::size_t update = origin.scope ? origin.scope->find("update of ") : std::string::npos;
  const bool is_named = update != std::string::npos;
  return op_text(name, origin) + (is_named ? " and " + origin.scope->substr(update) : "");
}

std::string place_text(const GraphNode& node) {
  const std::string line = to_string(node.origin.where);
  return node.origin.scope ? line + " " + *node.origin.scope : line;
}

std::string types_text(const GraphNode& node) {
  std::string text = to_string(node.types[0]);
  return node.types.size() > 1 ? text + fmt::format(" +{}", node.types.size() - 1) : text;
}

std::string joined(const std::vector<std::string>& names, std::size_t most) {
  std::vector<std::string> once;
  for (const std::string& name : names) {
    if (std::find(once.begin(), once.end(), name) == once.end()) once.push_back(name);
  }
  std::string text;
  for (std::size_t i = 0; i < std::min(once.size(), most); ++i)
    text += (i == 0 ? "" : ", ") + once[i];
  return once.size() > most ? text + fmt::format(" and {} more", once.size() - most) : text;
}

std::map<std::int32_t, std::size_t> find_made(const Graph& made, const Graph& graph,
                                              bool (*is_one)(const GraphNode&)) {
  std::unordered_multimap<std::size_t, std::pair<const GraphNode*, std::size_t>> known;
  for (const GraphNode& node : made.nodes) {
    if (is_one(node)) known.emplace(node.op->hash(), std::pair(&node, known.size()));
  }
  std::map<std::int32_t, std::size_t> numbers;
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(graph.nodes.size()); ++i) {
    const GraphNode& node = graph.nodes[static_cast<std::size_t>(i)];
    if (!is_one(node)) continue;
    const auto [first, last] = known.equal_range(node.op->hash());
    for (auto it = first; it != last; ++it) {
      const auto& [other, number] = it->second;
      if (other->op == node.op && other->types == node.types &&
          place_text(*other) == place_text(node))
        numbers[i] = number;
    }
  }
  return numbers;
}
}  // namespace blockgrad
