#pragma once
// Tails: Maps that only new values of storage depend on. They run last, in place, under their
// update's guard, and fuse among themselves: together with anything else they could not wait for
// the guard.

#include <vector>

#include "graph/graph.h"

namespace blockgrad {

struct Tail {
  bool is_tail = false;
  Value guard;
  bool operator==(const Tail&) const = default;
};

/// One per node.
std::vector<Tail> find_tails(const Graph& graph);

}  // namespace blockgrad
