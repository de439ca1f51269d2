#pragma once
// ProductMap: a product whose elements go through a scalar program as they are made, so that the
// product itself need not be written. The pass fuse_epilogues makes it.

#include <string>
#include <string_view>
#include <vector>

#include "blockgrad/graph/map.h"

namespace blockgrad {

/// y_r[p] = fn_r(c[p], x_1[p], x_2[p], ...) at every row-major position p, with c = product(a, b).
/// Inputs: a, b, then x_1, x_2, ..., each of as many elements as c in any shape; result r has the
/// shape shapes[r], of as many elements too. c is rounded to the product's dtype
/// first, so bits are those of the two nodes apart. Made after the gradient, so it has none.
struct ProductMap {
  static constexpr std::string_view name = "product_map";
  static constexpr std::size_t operands = 2;  // of the product
  Op product;
  ScalarFn fn;  // input 0 is the product's element
  std::vector<Shape> shapes;

  bool operator==(const ProductMap&) const = default;
  std::vector<TensorType> infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  /// The product, then a Map.
  std::vector<Expr> expand(std::span<const Expr> in) const;
  std::string print() const;
  std::size_t hash() const { return fn.hash(); }
  bool accepts(int input, const Layout& layout) const {
    return input >= static_cast<int>(operands) || product->accepts(input, layout);
  }
  Cost cost(Types in, Types out) const;
};

}  // namespace blockgrad
