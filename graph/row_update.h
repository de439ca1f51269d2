#pragma once
// RowUpdate: some rows of storage replaced by a scalar program of what they were, as one node. The
// pass fuse_row_updates makes it of what an optimizer does with the rows of a table.

#include <string>
#include <string_view>
#include <vector>

#include "blockgrad/graph/map.h"

namespace blockgrad {

/// For each result r of `fn`: y_r = x_r [n, inner..], then y_r[rows[k]] = fn_r(..)[k] for k <
/// count. Input j of `fn` is x_s[rows[k]] for s = tables[j] >= 0, else a value [c, inner..].
/// Inputs: x_r of each result; rows [c], i32 or i64, distinct and in [0, n) below the count; the
/// count, an i64 scalar; the values that are no rows of a table, in the order of `fn`. Made after
/// the gradient.
struct RowUpdate {
  static constexpr std::string_view name = "update_rows";
  static constexpr std::size_t most_values = 64;  // inputs and results of the program
  ScalarFn fn;
  std::vector<std::int32_t> tables;

  bool operator==(const RowUpdate&) const = default;
  std::vector<TensorType> infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  bool not_differentiable(int) const { return true; }
  std::string print() const;
  std::size_t hash() const { return fn.hash(); }
  bool accepts(int, const Layout& layout) const;
  Cost cost(Types in, Types out) const;
};

}  // namespace blockgrad
