#pragma once
// Sorting, the largest elements, and running sums. Order: NaN counts as the greatest, -0 equals 0,
// equal elements keep their order.

#include "blockgrad/graph/op.h"

namespace blockgrad {

/// The first `count` places of each line of the last axis in sorted order, as i32: NaN last when
/// ascending, first when descending; equal ones in order of place. Numbers; no gradient.
struct Sort {
  static constexpr std::string_view name = "argsort";
  bool descending = false;
  std::int64_t count = 0;

  bool operator==(const Sort&) const = default;
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward&) const { return {Expr()}; }
  bool not_differentiable(int) const { return true; }
  std::string print() const;
};

/// Running sums along `axis`, from its end if `reverse`. Floating -> same; integers -> i64, which
/// wraps. Sums of blocks of 256 are added up one after the other, so the order of additions depends
/// on the place alone. Gradient: the running sum the other way.
struct Scan {
  static constexpr std::string_view name = "cumsum";
  int axis = 0;
  bool reverse = false;

  bool operator==(const Scan&) const = default;
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  std::string print() const;
};

/// The elements of each line of `axis` in ascending order, or descending. The gradient is put back
/// where the elements came from.
Expr sort(Arg x, int axis = -1, bool descending = false);
/// The places in each line from which sort takes its elements, as i32. Throws Error for lines of
/// 2^31 elements.
Expr argsort(Arg x, int axis = -1, bool descending = false);

struct TopK {
  Expr values, indices;  // [.., k], the largest first; indices i32
};
/// The k largest elements of each line of the last axis, and their places; the first of ties; NaN
/// is the largest. Throws Error if k is not in [0, n].
TopK topk(Arg x, std::int64_t k);

/// y_j = x_0 + .. + x_j along `axis`, or x_j + .. + x_{n-1} if `reverse`; integers give i64.
Expr cumsum(Arg x, int axis = -1, bool reverse = false);

}  // namespace blockgrad
