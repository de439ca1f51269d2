#include "graph/order.h"

#include "blockgrad/graph/grad.h"

namespace blockgrad {

Order::Order(std::span<const Expr> roots) {
  struct Visit {
    const Node* node;
    std::size_t next;
  };
  NodeIndex seen;
  std::vector<Visit> stack;
  const auto enter = [&](const Node* node) {
    if (seen.add(node, 0)) stack.push_back({node, 0});
  };
  for (const Expr& root : roots) {
    if (root) enter(root.node());
    while (!stack.empty()) {
      Visit& top = stack.back();
      if (top.next < top.node->inputs.size()) {
        enter(top.node->inputs[top.next++].node());
      } else {
        index.add(top.node, static_cast<std::int32_t>(nodes.size()));
        nodes.push_back(top.node);
        stack.pop_back();
      }
    }
  }
}

std::vector<const Node*> detail::in_order(std::span<const Expr> roots) {
  return std::move(Order(roots).nodes);
}

}  // namespace blockgrad
