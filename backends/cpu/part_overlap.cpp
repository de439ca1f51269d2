#include "backends/cpu/part_overlap.h"

#include <cstring>
#include <utility>
#include <vector>

#include "backends/cpu/walk.h"
#include "graph/disjoint_parts.h"
#include "graph/parts.h"

namespace blockgrad {

namespace {

// Whether two elements share a place, by a look at all of them.
bool overlap(std::span<const Layout> layouts, std::int64_t size) {
  std::vector<std::uint8_t> hit(static_cast<std::size_t>(size), 0);
  bool overlaps = false;
  for (std::size_t p = 0; p < layouts.size() && !overlaps; ++p) {
    const Walk walk(layouts[p]);
    const std::int64_t step = walk.step();
    walk.runs(0, layouts[p].shape.size(), [&](std::int64_t at, std::int64_t run) {
      std::uint8_t* const marks = hit.data() + at;
      if (step == 1) {
        overlaps = overlaps || std::memchr(marks, 1, static_cast<std::size_t>(run));
        std::memset(marks, 1, static_cast<std::size_t>(run));
        return;
      }
      for (std::int64_t i = 0; i < run; ++i)
        overlaps = std::exchange(marks[i * step], std::uint8_t{1}) != 0 || overlaps;
    });
  }
  return overlaps;
}

}  // namespace

bool are_apart(const Unview& op) {
  constexpr std::int64_t most_looks = std::int64_t{1} << 26;
  const std::int64_t size = op.shape.size();
  std::int64_t elements = 0;
  for (const Layout& layout : op.layouts) elements = checked_add(elements, layout.shape.size());
  if (elements > size) return false;
  if (is_row_of_parts(op) || are_columns(op) || are_surely_disjoint(op.layouts, op.shape))
    return true;
  return size <= most_looks && !overlap(op.layouts, size);
}

}  // namespace blockgrad
