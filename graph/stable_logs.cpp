#include "graph/stable_logs.h"

#include <algorithm>

#include "blockgrad/graph/op.h"
#include "graph/flow.h"

namespace blockgrad {

namespace {

bool contains(std::span<const Expr> list, const Expr& e) {
  return std::find(list.begin(), list.end(), e) != list.end();
}

class StableLogs {
 public:
  StableLogs(const Order& order, std::span<const Expr> wrt) : order_(order), wrt_(wrt) {
    for (std::size_t i = 0; i < order.nodes.size(); ++i) {
      if (!rewrite(i)) rebuild(i);
    }
  }

  Expr operator()(const Expr& e) const {
    if (made_.empty()) return e;
    const std::int32_t i = order_.index.find(e.node());
    if (i == NodeIndex::none || made_[static_cast<std::size_t>(i)].empty()) return e;
    return made_[static_cast<std::size_t>(i)][static_cast<std::size_t>(e.result())];
  }

  std::vector<AuditEntry> entries;

 private:
  bool rewrite(std::size_t i) {
    const Node& node = *order_.nodes[i];
    const Expr argument = log_argument(node);
    if (!argument) return false;
    for (Expr e = node.inputs[0];; e = e.node()->inputs[0]) {
      if (contains(wrt_, e)) return false;
      if (e == argument) break;
    }
    const Expr log = stable_log(node, renamed(argument.node()->inputs));
    if (!log) return false;
    made_.resize(order_.nodes.size());
    made_[i] = {log};
    const Expr self(&node, 0);
    entries.push_back({AuditEntry::Kind::rewritten, self, 0,
                       describe(self) + ": the log of " + describe(argument) +
                           " is differentiated as " + std::string(log.op()->name())});
    return true;
  }

  void rebuild(std::size_t i) {
    if (made_.empty()) return;
    const Node& node = *order_.nodes[i];
    std::vector<Expr> inputs = renamed(node.inputs);
    if (inputs == node.inputs) return;
    made_[i].reserve(node.results.size());
    const Node* copy = new Node(node.op, std::move(inputs), node.results, node.origin);
    for (std::size_t r = 0; r < node.results.size(); ++r)
      made_[i].emplace_back(copy, static_cast<int>(r));
  }

  std::vector<Expr> renamed(std::span<const Expr> values) const {
    std::vector<Expr> names;
    for (const Expr& value : values) names.push_back((*this)(value));
    return names;
  }

  const Order& order_;
  std::span<const Expr> wrt_;
  std::vector<std::vector<Expr>> made_;  // per node: its results in the new graph, if they changed
};

}  // namespace

GradientQuestion with_stable_logs(const Expr& y, std::span<const Expr> wrt) {
  GradientQuestion question{y, {wrt.begin(), wrt.end()}, Order({&y, 1}), {}};
  const StableLogs stable(question.order, wrt);
  if (stable.entries.empty()) return question;
  question.root = stable(y);
  for (Expr& w : question.wanted) w = stable(w);
  question.order = Order({&question.root, 1});
  question.rewritten = stable.entries;
  return question;
}

}  // namespace blockgrad
