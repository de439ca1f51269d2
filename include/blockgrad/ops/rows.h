#pragma once
// Values of some rows of a larger one: what a gradient through `take` is, and what a sparse update
// writes. Made after the gradient: they have none.

#include "blockgrad/graph/put_rows.h"

namespace blockgrad {

/// rows = the distinct numbers in i, ascending; sums[k] = 0 + v[p] + ... over the positions p with
/// i[p] = rows[k], in their order; count = how many there are. i [c] i32 or i64; v [c, inner..]
/// f32 or f64. Rows and sums are sized for the largest count, c or `most` if that is less; what
/// lies behind the count is 0.
struct MergeRows {
  static constexpr std::string_view name = "merge_rows";
  std::int64_t most = -1;  // distinct numbers there can be; -1: any number
  bool operator==(const MergeRows&) const = default;
  std::vector<TensorType> infer(Types in) const;
  std::vector<Expr> vjp(const Backward&) const { return std::vector<Expr>(2); }
  bool not_differentiable(int) const { return true; }
};

/// Rows by number: values[k] belongs to row rows[k], for k < count.
struct Rows {
  Expr rows;    // [c] i32 or i64, distinct
  Expr values;  // [c, inner..]
  Expr count;   // i64 scalar
};

/// Each row that `indices` name once, ascending, with the sum of its values in order of position.
/// indices [k..] i32 or i64, v [k.., inner..] f32 or f64. No indices give the count 0. Throws Error
/// if shapes or dtypes do not fit.
Rows merge_rows(Arg indices, Arg v);

/// x with the given rows replaced: x [n, inner..] of any dtype. As the update of a parameter or
/// state by itself it writes them in place: `updates.set(w, put_rows(w, rows))`. Rows must be
/// distinct; one outside [0, n) is an Error of the run, also behind the count.
Expr put_rows(Arg x, const Rows& rows);

}  // namespace blockgrad
