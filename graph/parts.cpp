#include "graph/parts.h"

#include <algorithm>
#include <utility>

#include "graph/disjoint_parts.h"

namespace blockgrad {

namespace {

using Runs = std::vector<std::pair<std::int64_t, std::int64_t>>;  // begin, end

// Whether they lie one behind the other and cover 0 .. size-1.
bool cover(Runs runs, std::int64_t size) {
  std::sort(runs.begin(), runs.end());
  std::int64_t end = 0;
  for (const auto& [begin, after] : runs) {
    if (begin != end) return false;
    end = after;
  }
  return end == size;
}

}  // namespace

bool is_row_of_parts(const Unview& op) {
  Runs runs;
  for (const Layout& layout : op.layouts) {
    Layout from_start = layout;
    from_start.offset = 0;
    if (!from_start.is_dense()) return false;
    runs.emplace_back(layout.offset, layout.offset + layout.shape.size());
  }
  return cover(std::move(runs), op.shape.size());
}

bool are_columns(const Unview& op) {
  if (op.shape.rank() == 0 || op.shape.size() == 0) return false;
  const int last = op.shape.rank() - 1;
  const std::int64_t columns = op.shape[last];
  Runs runs;
  for (const Layout& layout : op.layouts) {
    if (layout.shape.rank() != op.shape.rank() || layout.offset >= columns) return false;
    for (int a = 0; a < last; ++a) {
      if (layout.shape[a] != op.shape[a]) return false;
    }
    if (layout.strides != Layout::dense(op.shape).strides) return false;
    runs.emplace_back(layout.offset, layout.offset + layout.shape[last]);
  }
  return cover(std::move(runs), columns);
}

bool are_all_places(const Unview& op) {
  std::int64_t elements = 0;
  for (const Layout& layout : op.layouts) elements = checked_add(elements, layout.shape.size());
  return elements == op.shape.size() && are_surely_disjoint(op.layouts, op.shape);
}

bool is_identity(const Map& map) {
  const std::span<const ScalarInstr> code = map.fn.code();
  return code.size() == 1 && code[0].op == ScalarOp::input && map.fn.results().size() == 1;
}

std::optional<Layout> place_in_copy(const Layout& view, const Shape& shape) {
  if (view.offset != 0 || view.shape.size() != shape.size()) return std::nullopt;
  const Layout from = Layout::dense(shape), to = Layout::dense(view.shape);
  Layout place{shape, {}, 0};
  for (int a = 0; a < shape.rank(); ++a) {
    const auto axis = static_cast<std::size_t>(a);
    if (shape[a] == 1) continue;
    int found = -1;
    for (int v = 0; v < view.shape.rank(); ++v) {
      const auto at = static_cast<std::size_t>(v);
      if (view.shape[v] == shape[a] && view.strides[at] == from.strides[axis]) found = v;
    }
    if (found < 0) return std::nullopt;
    place.strides[axis] = to.strides[static_cast<std::size_t>(found)];
  }
  return place;
}

}  // namespace blockgrad
