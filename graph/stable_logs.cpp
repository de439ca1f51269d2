#include "graph/stable_logs.h"

#include <algorithm>

#include "blockgrad/graph/op.h"
#include "graph/flow.h"

namespace blockgrad {

namespace {

bool contains(std::span<const Expr> list, const Expr& e) {
  return std::find(list.begin(), list.end(), e) != list.end();
}

}  // namespace

StableLogs::StableLogs(const Order& order, std::span<const Expr> wrt) : order_(order) {
  for (std::size_t i = 0; i < order.nodes.size(); ++i) {
    const Node& node = *order.nodes[i];
    const Expr log = stable_log(node);
    if (!log || contains(wrt, node.inputs[0]) || contains(wrt, Expr(&node, 0))) continue;
    if (made_.empty()) made_.resize(order.nodes.size());
    made_[i] = {log};
    entries_.push_back({AuditEntry::Kind::rewritten, Expr(&node, 0), 0,
                        describe(Expr(&node, 0)) + ": the log of " + describe(node.inputs[0]) +
                            " is differentiated as " + std::string(log.op()->name())});
  }
  for (std::size_t i = 0; i < made_.size(); ++i) rebuild(i);
}

Expr StableLogs::operator()(const Expr& e) const {
  if (made_.empty()) return e;
  const std::int32_t i = order_.index.find(e.node());
  if (i == NodeIndex::none || made_[static_cast<std::size_t>(i)].empty()) return e;
  return made_[static_cast<std::size_t>(i)][static_cast<std::size_t>(e.result())];
}

void StableLogs::rebuild(std::size_t i) {
  const Node& node = *order_.nodes[i];
  if (!made_[i].empty()) return;
  std::vector<Expr> inputs;
  bool changed = false;
  for (const Expr& in : node.inputs) {
    inputs.push_back((*this)(in));
    changed = changed || !(inputs.back() == in);
  }
  if (!changed) return;
  made_[i].reserve(node.results.size());
  const Node* copy = new Node(node.op, std::move(inputs), node.results, node.origin);
  for (std::size_t r = 0; r < node.results.size(); ++r)
    made_[i].emplace_back(copy, static_cast<int>(r));
}

}  // namespace blockgrad
