#pragma once
// Tails: Maps and PutRows that only new values of storage depend on. They run last, in place, under
// their update's guard, and fuse among themselves: together with anything else they could not wait
// for the guard.

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

/// Tails that read each other are a chain: what makes the new values of one parameter. Per node the
/// first of its chain; -1 for those that are no tails.
std::vector<std::int32_t> find_chains(const Graph& graph);

/// The same nodes with tails behind all others, chain by chain, wherever their gradients come from.
/// `before[i]` becomes the number that node i had.
Graph tails_last(const Graph& graph, std::vector<std::int32_t>& before);

}  // namespace blockgrad
