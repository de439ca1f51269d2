#include "graph/parts.h"

#include <algorithm>
#include <utility>

namespace blockgrad {

bool is_row_of_parts(const Unview& op) {
  std::vector<std::pair<std::int64_t, std::int64_t>> runs;  // begin, end
  for (const Layout& layout : op.layouts) {
    Layout from_start = layout;
    from_start.offset = 0;
    if (!from_start.is_dense()) return false;
    runs.emplace_back(layout.offset, layout.offset + layout.shape.size());
  }
  std::sort(runs.begin(), runs.end());
  std::int64_t end = 0;
  for (const auto& [begin, after] : runs) {
    if (begin != end) return false;
    end = after;
  }
  return end == op.shape.size();
}

}  // namespace blockgrad
