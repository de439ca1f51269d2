#pragma once
// Logarithms of values that know a stable form are taken in that form, before anything is
// differentiated: afterwards the quotient of two zeros is there already.

#include <span>
#include <vector>

#include "blockgrad/graph/audit.h"
#include "graph/order.h"

namespace blockgrad {

/// What to differentiate by what.
struct GradientQuestion {
  Expr root;
  std::vector<Expr> wanted;
  Order order;  // of the nodes behind root
  std::vector<AuditEntry> rewritten;
};

/// The question of y by `wrt` with stable logarithms, and an entry for each. A logarithm whose
/// inside is one of `wrt` stays.
GradientQuestion with_stable_logs(const Expr& y, std::span<const Expr> wrt);

}  // namespace blockgrad
