#include "graph/passes/row_links.h"

#include <algorithm>
#include <utility>

#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"

namespace blockgrad {

namespace {

constexpr std::int64_t longest_line = 16384;    // elements that stay in a core's second cache
constexpr std::int64_t longest_pieces = 65536;  // of a line that lies in pieces, one at a time
constexpr std::int64_t fewest_columns = 16;     // side by side
constexpr std::size_t most_wanted = 4;          // spaces remembered per value

// The space over which a layout spreads a value per line: along its axes with stride 0.
std::optional<RowSpace> spread_space(const Layout& layout) {
  return space_of(layout.shape,
                  [&](int a) { return layout.strides[static_cast<std::size_t>(a)] == 0; });
}

bool spreads(const Layout& layout, const RowSpace& space) {
  const Layout wanted = space.spread();
  Layout seen;
  if (layout.shape.size() != space.elements() ||
      !compose(Layout::dense(wanted.shape), layout, seen) || seen.offset != 0)
    return false;
  for (int a = 0; a < wanted.shape.rank(); ++a) {
    const auto i = static_cast<std::size_t>(a);
    if (wanted.shape[a] != 1 && seen.strides[i] != wanted.strides[i]) return false;
  }
  return true;
}

}  // namespace

Readers readers_of(const Graph& graph) {
  std::vector<std::size_t> first_value(graph.nodes.size() + 1, 0);
  for (std::size_t i = 0; i < graph.nodes.size(); ++i)
    first_value[i + 1] = first_value[i] + graph.nodes[i].types.size();
  const auto each_use = [&](auto use) {
    for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
      for (const Value v : graph.nodes[i].inputs) use(v, static_cast<std::int32_t>(i));
    }
    for (const Value v : graph.outputs) use(v, -1);
    for (const GraphUpdate& u : graph.updates) {
      use(u.value, -1);
      if (u.guard) use(u.guard, -1);
    }
  };
  const auto number = [&](Value v) {
    return first_value[static_cast<std::size_t>(v.node)] + static_cast<std::size_t>(v.result);
  };
  std::vector<std::size_t> first_reader(first_value.back() + 1, 0);
  each_use([&](Value v, std::int32_t) { ++first_reader[number(v) + 1]; });
  for (std::size_t i = 1; i < first_reader.size(); ++i) first_reader[i] += first_reader[i - 1];
  std::vector<std::int32_t> readers(first_reader.back());
  std::vector<std::size_t> next(first_reader.begin(), first_reader.end() - 1);
  each_use([&](Value v, std::int32_t reader) { readers[next[number(v)]++] = reader; });
  return Readers(std::move(first_value), std::move(first_reader), std::move(readers));
}

RowLinks::RowLinks(const Graph& graph)
    : graph_(graph), spaces_(graph.nodes.size()), returns_(graph.nodes.size(), 0) {
  find_spaces();
  find_returns();
}

Value RowLinks::same_elements(Value v) const {
  const GraphNode& node = graph_.node(v);
  const View* view = node.op.as<View>();
  if (!view) return v;
  const bool same = view->layout.is_dense() &&
                    view->layout.shape.size() == graph_.type(node.inputs[0]).shape.size();
  return same ? node.inputs[0] : Value{};
}

bool RowLinks::is_spread(Value v, const RowSpace& space) const {
  const View* view = graph_.node(v).op.as<View>();
  return view && graph_.type(graph_.base(v)).shape.size() == space.lines() &&
         spreads(view->layout, space);
}

void RowLinks::find_spaces() {
  for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
    const GraphNode& node = graph_.nodes[i];
    const Reduce* reduce = node.op.as<Reduce>();
    if (!reduce) continue;
    const std::optional<RowSpace> space = space_of(*reduce, graph_.type(node.inputs[0]).shape);
    if (!space || space->n < 2 || space->elements() == 0) continue;
    const bool fits = space->tail > 1
                          ? space->length() <= longest_pieces
                          : space->n * std::min(space->inner, fewest_columns) <= longest_line;
    if (fits) spaces_[i] = space;
  }
}

void RowLinks::find_returns() {
  std::vector<std::vector<RowSpace>> wanted(graph_.nodes.size());  // per node, by its readers
  const auto want = [&](std::int32_t node, const RowSpace& space) {
    std::vector<RowSpace>& list = wanted[static_cast<std::size_t>(node)];
    if (list.size() < most_wanted && std::find(list.begin(), list.end(), space) == list.end())
      list.push_back(space);
  };
  for (std::size_t i = graph_.nodes.size(); i-- > 0;) {
    const GraphNode& node = graph_.nodes[i];
    const std::vector<RowSpace>& mine = wanted[i];
    if (spaces_[i]) returns_[i] = std::find(mine.begin(), mine.end(), *spaces_[i]) != mine.end();
    if (!node.op.as<Map>()) continue;
    for (const Value v : node.inputs) {
      if (const Value same = same_elements(v)) {
        for (const RowSpace& space : mine) {
          if (space.lines() == node.types[0].shape.size()) want(same.node, space);
        }
      } else if (const View* view = graph_.node(v).op.as<View>()) {
        const std::optional<RowSpace> space = spread_space(view->layout);
        if (space && space->n > 1 && is_spread(v, *space)) want(graph_.base(v).node, *space);
      }
    }
  }
}

}  // namespace blockgrad
