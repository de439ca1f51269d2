#pragma once
// The nodes behind some expressions in an order in which inputs come before users.

#include <span>
#include <vector>

#include "blockgrad/graph/expr.h"
#include "graph/node_index.h"

namespace blockgrad {

struct Order {
  std::vector<const Node*> nodes;
  NodeIndex index;  // of each node in `nodes`

  /// Walks with an explicit stack.
  explicit Order(std::span<const Expr> roots);
};

}  // namespace blockgrad
