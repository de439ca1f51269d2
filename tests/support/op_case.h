#pragma once
// OpCase: a row of an op. It says how inputs are drawn, what the values must be, where the op has
// kinks, and which shapes it refuses.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "blockgrad/graph/expr.h"
#include "tests/support/array.h"

namespace op_check {

using blockgrad::Expr;

/// How one input of a row is drawn.
struct Draw {
  enum class Kind : std::uint8_t {
    number,   // evenly in [low, high], of the try's dtype; integers: 1 to 9
    index,    // in [0, below), i32 in tries of f64, else i64
    boolean,  // true or false, evenly
  };
  Kind kind = Kind::number;
  double low = -2, high = 2;
  std::int64_t below = 0;    // 0: the size of `axis` of input `of`
  int of = 0, axis = 0;      // negative axes count from the end
  bool has_gradient = true;  // numbers: the op sends a gradient to it
  bool is_constant = false;  // goes in as a constant, never as a leaf that is fed

  static Draw number(double low = -2, double high = 2);
  static Draw index(std::int64_t below);
  static Draw index_of(int input, int axis);
  static Draw boolean();
  /// The same, but the op declares that it has no gradient by it.
  Draw without_gradient() const;
  /// The same, as a constant of the graph.
  Draw constant() const;
};

/// Inputs that the op must refuse when the graph is built.
struct Refusal {
  std::vector<Shape> shapes;
  /// The exact message; "(here)" stands for the row's file and the line that made the op.
  std::string message;
  DType dtype = DType::f64;
};

struct OpCase {
  /// Starts with the name of the public function; docs/ops.md counts it there.
  std::string name;
  std::vector<std::vector<Shape>> shapes;  // of the inputs, one list per try
  std::function<Expr(std::span<const Expr>)> op;
  std::function<Array(std::span<const Array>)> reference;
  double low = -2, high = 2;    // inputs are drawn evenly between
  bool has_gradient = true;     // by every input; false where there is none to check
  bool takes_integers = false;  // i32, i64 and u8 are tried too, with values 1 to 9
  double tolerance32 = 2e-6;    // of f32 values, relative to max(1, |reference|)
  std::vector<DType> dtypes = {DType::f64, DType::f32};
  std::vector<Draw> inputs = {};  // empty: numbers in [low, high]
  /// True where a kink or a tie is too near for differences; such inputs are drawn again.
  std::function<bool(std::span<const Array>)> near_kink = {};
  std::vector<Refusal> refuses = {};
  bool has_second_order = true;
  double gradient_tolerance = 1e-6;  // of f64 gradients, relative to max(1, |slope|)
  double gradient32 = 0;             // of f32 gradients against f64 ones; 0: ten times tolerance32
  double tolerance64 = 1e-13;        // of f64 values, relative to max(1, |reference|)
  double step = 1e-5;                // of the differences, relative to max(1, |x|)
};

/// near_kink of functions of one number each with kinks at `places`.
std::function<bool(std::span<const Array>)> kinks_at(std::vector<double> places);
/// near_kink where equal elements of the first input make a tie.
std::function<bool(std::span<const Array>)> ties_within();
/// near_kink where equal elements of the first two inputs, broadcast, make a tie.
std::function<bool(std::span<const Array>)> ties_between();

}  // namespace op_check
