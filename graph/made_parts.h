#pragma once
// Which values are made where they are put: in the result of an Unview, or of a copy that puts
// their axes in another order.

#include <functional>
#include <vector>

#include "graph/graph.h"

namespace blockgrad {

struct MadePart {
  Value part, whole;
  Layout layout;  // of the part in the whole
};

/// What an Unview puts into a result of which it leaves nothing else, and what a copy reads in
/// another order, each at most once, in the order of the nodes. Parts that lie densely are for any
/// node; others, with `in_any_layout`, for nodes that write such a layout, if all who read them
/// take it. `uses` are use_counts(graph); `may_move` asks for a value that a node makes.
std::vector<MadePart> made_parts(const Graph& graph, const ValueTable<std::int32_t>& uses,
                                 bool in_any_layout, const std::function<bool(Value)>& may_move);

}  // namespace blockgrad
