#pragma once
// A sum of products that are larger than their operands is one product.

#include "graph/graph.h"

namespace blockgrad {

/// Sums of gradients over products C_t = A_t B_t whose operands have fewer elements together than
/// they have become one product of the operands joined along the axis that they sum over: the
/// gradient of a weight that is used at T times is written once, not T times and added. Its order
/// of sums is that of one chain over all of them, then what is no product or is read elsewhere too.
/// So this is always done, first of all: bits depend on the graph alone, not on options. The
/// operands of all times live until the last.
Graph join_products(const Graph& graph);

}  // namespace blockgrad
