#pragma once
// The pass that updates a weight while rows of its gradient are made.

#include "graph/graph.h"

namespace blockgrad {

/// A product that nothing reads but the Map that makes new values of storage, as the gradient of a
/// weight and its update, becomes one ProductMap with it: rows of the gradient are used up in the
/// cache, and the gradient is never there as a whole. What the product reads then stays to the end
/// of the step, so it must be less than the gradient; where the step would need more memory,
/// nothing is joined. Equal bits.
Graph fuse_product_updates(const Graph& graph);

}  // namespace blockgrad
