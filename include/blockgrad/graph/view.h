#pragma once
// Views move no data: they say where an element of the result lies in the input. Unview is their
// transpose: it puts parts into a larger value and adds where they overlap.

#include <span>
#include <string>
#include <vector>

#include "blockgrad/graph/op.h"

namespace blockgrad {

/// y[p] = x.flat[layout(p)], the input taken as dense and row-major. Gradient: Unview, after a sum
/// over axes of stride 0; for a reshape or a permutation the inverse View.
struct View {
  static constexpr std::string_view name = "view";
  Layout layout;
  std::string_view short_name = "view";  // a literal; for messages only, not compared

  bool operator==(const View& other) const { return layout == other.layout; }
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  std::string_view title() const { return short_name; }
  std::string print() const { return to_string(layout); }
  bool accepts(int, const Layout&) const { return true; }
  Cost cost(Types, Types) const { return {}; }
};

/// y starts as `fill`; part i is put where layouts[i] says. A place hit once is stored bit for bit,
/// one hit more often receives the sum in order of parts, and within a part in row-major order; of
/// bools, as in NumPy, whether any is true.
struct Unview {
  static constexpr std::string_view name = "unview";
  std::vector<Layout> layouts;
  Shape shape;
  Number fill;
  std::string_view short_name = "unview";

  bool operator==(const Unview& other) const {
    return layouts == other.layouts && shape == other.shape && fill == other.fill;
  }
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  std::string_view title() const { return short_name; }
};

/// NumPy broadcasting to a larger shape; the same Expr if it has that shape. Throws Error if it
/// does not fit.
Expr broadcast_to(const Expr& x, const Shape& shape, SourceLoc where = SourceLoc::here());
/// The same elements in row-major order; one size may be -1 and is worked out. Throws Error if
/// sizes do not fit.
Expr reshape(const Expr& x, std::span<const std::int64_t> sizes,
             SourceLoc where = SourceLoc::here());
Expr reshape(const Expr& x, std::initializer_list<std::int64_t> sizes,
             SourceLoc where = SourceLoc::here());
Expr reshape(const Expr& x, const Shape& shape, SourceLoc where = SourceLoc::here());
/// Axis i of the result is axis axes[i] of x. Throws Error if axes are not a permutation.
Expr permute_dims(const Expr& x, std::span<const int> axes, SourceLoc where = SourceLoc::here());

}  // namespace blockgrad
