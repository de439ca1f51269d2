#pragma once
// Logarithms of values that know a stable form, taken in that form.

#include <span>
#include <vector>

#include "blockgrad/graph/audit.h"
#include "graph/order.h"

namespace blockgrad {

/// Replaces the logs of softmaxes and sigmoids behind an order of nodes before anything is
/// differentiated: afterwards the quotient of two zeros is there already. Values of `wrt`, and logs
/// of them, stay as they are.
class StableLogs {
 public:
  StableLogs(const Order& order, std::span<const Expr> wrt);

  /// The same value in the new graph.
  Expr operator()(const Expr& e) const;
  /// What was replaced.
  const std::vector<AuditEntry>& entries() const { return entries_; }

 private:
  void rebuild(std::size_t i);

  const Order& order_;
  std::vector<std::vector<Expr>> made_;  // per node: its results in the new graph, if they changed
  std::vector<AuditEntry> entries_;
};

}  // namespace blockgrad
