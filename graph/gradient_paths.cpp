#include "graph/gradient_paths.h"

#include <algorithm>
#include <bit>

#include "graph/flow.h"

namespace blockgrad {

GradientPaths::GradientPaths(const Order& order, const Expr& root) : order_(order) {
  first_.reserve(order.nodes.size());
  first_input_.reserve(order.nodes.size());
  std::size_t results = 0;
  for (const Node* node : order.nodes) {
    first_.push_back(results);
    results += node->results.size();
    first_input_.push_back(inputs_.size());
    for (const Expr& in : node->inputs) inputs_.push_back(order.index.find(in.node()));
  }
  is_read_.assign(results, 0);
  is_read_[number(root)] = 1;
  for (std::size_t i = 0; i < order.nodes.size(); ++i) {
    const std::vector<Expr>& inputs = order.nodes[i]->inputs;
    for (std::size_t n = 0; n < inputs.size(); ++n)
      is_read_[number(input(i, n), static_cast<std::size_t>(inputs[n].result()))] = 1;
  }
}

bool GradientPaths::is_closed(std::size_t i, std::size_t n) const {
  const Node& node = *order_.nodes[i];
  if (!is_floating(node.inputs[n].dtype()) || node.op->not_differentiable(static_cast<int>(n)))
    return true;
  for (std::size_t r = 0; r < node.results.size(); ++r) {
    if (is_floating(node.results[r].dtype) && is_read(i, r)) return false;
  }
  return true;
}

// One bit per wanted value, a word of them at a time.
std::map<std::size_t, GradientPaths::LeftOut> GradientPaths::left_out(
    std::span<const Expr> wanted) const {
  constexpr std::size_t word = 64;
  std::map<std::size_t, LeftOut> found;
  std::vector<std::size_t> rules;
  for (std::size_t i = 0; i < order_.nodes.size(); ++i) {
    if (is_custom_gradient(*order_.nodes[i])) rules.push_back(i);
  }
  for (std::size_t start = 0; start < wanted.size() && !rules.empty(); start += word) {
    const std::span<const Expr> some = wanted.subspan(start, std::min(word, wanted.size() - start));
    std::vector<std::uint64_t> marks(order_.nodes.size(), 0);
    for (std::size_t w = 0; w < some.size(); ++w) {
      const std::int32_t at = order_.index.find(some[w].node());
      if (at != NodeIndex::none) marks[static_cast<std::size_t>(at)] |= std::uint64_t{1} << w;
    }
    spread(marks);
    for (const std::size_t i : rules) {
      const std::size_t value = order_.nodes[i]->inputs.size() - 1;
      std::uint64_t lost = marks[input(i, value)];
      for (std::size_t n = 0; n < value; ++n) lost &= ~marks[input(i, n)];
      if (lost == 0) continue;
      LeftOut& entry = found[i];
      if (entry.count == 0) entry.first = start + static_cast<std::size_t>(std::countr_zero(lost));
      entry.count += static_cast<std::size_t>(std::popcount(lost));
    }
  }
  return found;
}

}  // namespace blockgrad
