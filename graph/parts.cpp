#include "graph/parts.h"

#include <algorithm>
#include <utility>

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

}  // namespace blockgrad
