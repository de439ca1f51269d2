#include "optim/reached.h"

#include <unordered_set>

#include "blockgrad/graph/grad.h"
#include "blockgrad/graph/op.h"

namespace blockgrad::detail {

std::vector<Expr> reached(const Expr& y, std::span<const Expr> parameters) {
  const Expr roots[] = {y};
  const std::vector<const Node*> order = in_order(roots);
  std::unordered_set<const Node*> has_adjoint{y.node()};
  for (std::size_t i = order.size(); i-- > 0;) {
    const Node& node = *order[i];
    if (has_adjoint.count(&node) == 0) continue;
    for (std::size_t n = 0; n < node.inputs.size(); ++n) {
      const bool is_cut =
          node.op->not_differentiable(static_cast<int>(n)) || !is_floating(node.inputs[n].dtype());
      if (!is_cut) has_adjoint.insert(node.inputs[n].node());
    }
  }
  std::vector<Expr> found;
  for (const Expr& p : parameters) {
    if (has_adjoint.count(p.node()) > 0) found.push_back(p);
  }
  return found;
}

std::vector<Expr> reached_gradients(const Expr& y, std::span<const Expr> parameters,
                                    SourceLoc where) {
  const std::vector<Expr> known = reached(y, parameters);
  std::vector<Expr> all(parameters.size());
  if (known.empty()) return all;
  const std::vector<Expr> values = grad(y, known, where);
  std::size_t next = 0;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (next < known.size() && known[next] == parameters[i]) all[i] = values[next++];
  }
  return all;
}

}  // namespace blockgrad::detail
