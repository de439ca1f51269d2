#pragma once
// OpTry: one try of a row, its shapes and a dtype, and the checks that it must pass. Failures go to
// Boost.Test.

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "blockgrad/backends/program.h"
#include "tests/support/op_case.h"

namespace op_check {

/// Within tolerance * max(1, |expected|); NaN and infinities are met by themselves alone.
bool is_near(double got, double expected, double tolerance);

/// What is wrong where nothing may flow from y to x and the ops in between must declare that; empty
/// if it is so.
std::string mistake_in_no_gradient(const Expr& y, const Expr& x);

class OpTry {
 public:
  /// With `same` the first input is given to the op in place of all.
  OpTry(const OpCase& row, const std::vector<Shape>& shapes, DType dtype, bool same);

  void run_checks();
  /// The op's result, and its gradients where the row has them.
  std::vector<Expr> outputs();
  const blockgrad::Feeds& feeds() const { return feeds_; }
  /// Numbers that were compared with what they must be.
  std::int64_t comparisons() const { return comparisons_; }

 private:
  struct Slot {
    Draw draw;
    Expr expr;  // as given to the op
    Tensor value;
    Array array;
  };

  void draw_inputs(const std::vector<Shape>& shapes);
  Tensor drawn(const Draw& draw, const Shape& shape, const std::vector<Shape>& shapes);
  std::vector<Expr> exprs() const;
  std::vector<Array> arrays() const;
  bool is_variable(const Slot& slot) const;

  void check_value();
  void check_differences();
  void check_narrow_gradients();
  void check_no_gradient();
  void check_constants();
  void check_constants(const std::vector<char>& is_constant, const Tensor& y,
                       const std::vector<Tensor>& gradients);
  void check_variants();
  void check_transposed_view();
  void check_sliced_view();
  void check_broadcast_view();
  void check_seen(const char* form, const std::vector<Expr>& seen, const blockgrad::Feeds& feeds,
                  const std::vector<Tensor>& expected);

  void compare_bits(const std::string& what, const Tensor& got, const Tensor& expected);
  void compare_near(const std::string& what, const Tensor& got, const Tensor& expected,
                    double tolerance);

  const OpCase& row_;
  const DType dtype_;
  const bool same_;
  std::mt19937 random_;
  std::vector<Slot> slots_;
  std::vector<Expr> variables_;  // differentiated by; without repetition
  blockgrad::Feeds feeds_;
  Expr y_;
  std::vector<Expr> gradients_;
  std::vector<Tensor> expected_;  // of y, then of the gradients
  std::int64_t comparisons_ = 0;
};

}  // namespace op_check
