#pragma once
// RowUpdate: some rows of storage replaced by a scalar program of what they were, as one node, and
// RowOrder: which gradients each of them gets. The pass fuse_row_updates makes both of what an
// optimizer does with the rows of a table.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "blockgrad/graph/map.h"
#include "graph/graph.h"

namespace blockgrad {

/// rows [most] = the distinct numbers in i [c], ascending, 0 behind the count; order [c]: the
/// positions p with i[p] = rows[k], ascending, are order[starts[k]] .. order[starts[k + 1] - 1];
/// starts [most + 1]; the count. i is i32 or i64 and so are the rows; the count is i64, all else
/// i32. Made after the gradient.
struct RowOrder {
  static constexpr std::string_view name = "order_rows";
  std::int64_t most = 0;  // distinct numbers there can be, at most c

  bool operator==(const RowOrder&) const = default;
  std::vector<TensorType> infer(Types in) const;
  std::vector<Expr> vjp(const Backward&) const { return std::vector<Expr>(1); }
  bool not_differentiable(int) const { return true; }
};

/// For each result r of `fn`: y_r = x_r [n, inner..], then y_r[rows[k]] = fn_r(..)[k] for k <
/// count. Input j of `fn` is x_s[rows[k]] for s = tables[j] >= 0; for `sums`, of which there is one
/// at most, 0 + v[p] + ... of a value v [.., inner..] over the positions p of the row in their
/// order; else a value [c, inner..]. With `terms` v is what they make of values that have a row, or
/// a number, for each position (row_layout). Inputs: x_r of each result; rows [c], i32 or i64,
/// distinct below the count, those outside of [0, n) are left out; the count, an i64 scalar; for
/// sums order and starts of a RowOrder; then the values, in the order of `fn`. Made after the
/// gradient.
struct RowUpdate {
  static constexpr std::string_view name = "update_rows";
  static constexpr std::size_t most_values = 64;         // inputs and results of the program
  static constexpr std::int32_t values = -1, sums = -2;  // in `tables`
  ScalarFn fn;
  std::vector<std::int32_t> tables;
  std::optional<ScalarFn> terms = {};
  std::int64_t inner = 0;  // with terms: elements of a row

  bool operator==(const RowUpdate&) const = default;
  bool has_sums() const;
  /// How many values there are for `sums`.
  std::size_t term_count() const { return terms ? terms->inputs().size() : 1; }
  /// The first input that is a value.
  std::size_t first_value() const { return fn.results().size() + (has_sums() ? 4 : 2); }
  std::vector<TensorType> infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  bool not_differentiable(int) const { return true; }
  std::string print() const;
  std::size_t hash() const { return fn.hash(); }
  bool accepts(int, const Layout& layout) const;
  Cost cost(Types in, Types out) const;
};

/// Where the rows of a value are: each has `inner` neighbours, or is one number for all of them.
struct RowLayout {
  Layout rows;  // of the first of them, or of the numbers
  bool is_number = false;
};
/// Nothing for a value whose rows lie otherwise.
std::optional<RowLayout> row_layout(const Layout& layout, std::int64_t rows, std::int64_t inner);

/// Whether the node is PutRows or RowUpdate.
bool replaces_rows(const GraphNode& node);
/// Whether that node reads `whole` as what has the rows that this result replaces, and nowhere
/// else.
bool replaces_rows_of(const Graph& graph, Value result, Value whole);

}  // namespace blockgrad
