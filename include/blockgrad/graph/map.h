#pragma once
// Map: a scalar program at every position of equally shaped inputs. All elementwise ops are Maps,
// and so are their gradients; `elementwise` makes one from a user's formula.

#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blockgrad/graph/op.h"
#include "blockgrad/graph/scalar.h"

namespace blockgrad {

/// y_r[p] = fn_r(x_0[p], x_1[p], …) at every position p. Inputs: one shape, dtypes as in `fn`. Any
/// layout is read.
struct Map {
  static constexpr std::string_view name = "map";
  ScalarFn fn;
  std::string_view short_name = "map";  // a literal; for messages only, not compared

  bool operator==(const Map& other) const { return fn == other.fn; }
  std::vector<TensorType> infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  /// Of a sigmoid: logsigmoid(x) = -softplus(-x).
  Expr log(std::span<const Expr> inputs) const;
  std::string_view title() const { return short_name; }
  std::string print() const;
  std::size_t hash() const { return fn.hash(); }
  bool accepts(int, const Layout&) const { return true; }
  /// Rows at one distance from each other, long enough to be written one by one.
  bool makes(int result, const Layout& layout) const;
  Cost cost(Types in, Types out) const;
};

/// Records `formula` over the arguments, broadcast to one shape; numbers become constants of the
/// formula. Throws Error, naming `short_name` and the user's line, if shapes or dtypes do not fit.
Expr map(std::string_view short_name, std::initializer_list<Arg> args,
         const std::function<Scalar(std::span<const Scalar>)>& formula);

/// x as another dtype, the rule of ops/elementwise.h's astype; x itself if it has that dtype.
Expr cast(const Expr& x, DType dtype, SourceLoc where = SourceLoc::here());

/// An elementwise op from one formula: `auto swish = elementwise([](auto x) { return x / (1 +
/// exp(-x)); });` The formula is run once per use with Scalars, then differentiated, fused and
/// compiled like a built-in op.
template <class F>
class Elementwise {
 public:
  explicit Elementwise(F formula) : formula_(std::move(formula)) {}

  Expr operator()(Arg a) const {
    return map("elementwise", {a},
               [this](std::span<const Scalar> x) -> Scalar { return formula_(x[0]); });
  }
  Expr operator()(Arg a, Arg b) const {
    return map("elementwise", {a, b},
               [this](std::span<const Scalar> x) -> Scalar { return formula_(x[0], x[1]); });
  }
  Expr operator()(Arg a, Arg b, Arg c) const {
    return map("elementwise", {a, b, c},
               [this](std::span<const Scalar> x) -> Scalar { return formula_(x[0], x[1], x[2]); });
  }
  Expr operator()(Arg a, Arg b, Arg c, Arg d) const {
    return map("elementwise", {a, b, c, d}, [this](std::span<const Scalar> x) -> Scalar {
      return formula_(x[0], x[1], x[2], x[3]);
    });
  }

 private:
  F formula_;
};

template <class F>
Elementwise<F> elementwise(F formula) {
  return Elementwise<F>(std::move(formula));
}

/// `fn` without the inputs it does not read; `kept` receives the numbers of those it reads, or that
/// of the first: a Map takes its shape from an input.
ScalarFn without_unused_inputs(const ScalarFn& fn, std::vector<int>& kept);

/// The sum of equally typed values, added from left to right in one Map.
Expr sum_of(std::span<const Expr> parts);

}  // namespace blockgrad
