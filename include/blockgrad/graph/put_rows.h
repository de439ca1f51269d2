#pragma once
// PutRows: rows of a value replaced by number. As the new value of storage it writes them in place,
// so that an update of a few rows costs a few rows.

#include <string_view>
#include <vector>

#include "blockgrad/graph/op.h"

namespace blockgrad {

/// y = x [n, inner..], then y[rows[k]] = v[k] for k < count. rows [c] i32 or i64, v [c, inner..] of
/// x's dtype, count an i64 scalar. Rows must be distinct and lie in [0, n): among equal ones the
/// last wins, others outside are left out. Made after the gradient, so it has none.
struct PutRows {
  static constexpr std::string_view name = "put_rows";
  bool operator==(const PutRows&) const = default;
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward&) const { return std::vector<Expr>(4); }
  bool not_differentiable(int) const { return true; }
  Cost cost(Types in, Types out) const;
};

}  // namespace blockgrad
