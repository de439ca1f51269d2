#include "graph/contributions.h"

#include <algorithm>

#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"

namespace blockgrad {

namespace {

const Unview* unview_into_zeros(const Expr& e) {
  const Unview* op = e.op().as<Unview>();
  return op && op->fill == Number(0.0) ? op : nullptr;
}

}  // namespace

Expr sum_of_contributions(std::vector<Expr> contributions) {
  const auto end = contributions.end();
  const auto first = std::find_if(contributions.begin(), end, unview_into_zeros);
  if (first == end || std::find_if(first + 1, end, unview_into_zeros) == end)
    return sum_of(contributions);
  Unview joined{{}, first->shape(), 0.0, unview_into_zeros(*first)->short_name};
  std::vector<Expr> parts;
  for (auto e = first; e != end; ++e) {
    const Unview* op = unview_into_zeros(*e);
    if (!op) continue;
    joined.layouts.insert(joined.layouts.end(), op->layouts.begin(), op->layouts.end());
    parts.insert(parts.end(), e->node()->inputs.begin(), e->node()->inputs.end());
  }
  const Expr all = make(std::move(joined), std::move(parts));
  contributions.erase(std::remove_if(first + 1, end, unview_into_zeros), end);
  *first = all;
  return sum_of(contributions);
}

}  // namespace blockgrad
