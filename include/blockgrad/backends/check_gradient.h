#pragma once
// check_gradient: a function's gradient against central differences, element by element. For tests
// of ops and models; it runs the function twice per element.

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "blockgrad/backends/program.h"

namespace blockgrad {

struct GradientCheckOptions {
  double step = 1e-5;         // x moves by step * max(1, |x|) both ways
  double tolerance = 1e-6;    // relative to max(1, |slope|)
  bool second_order = false;  // the gradient's own gradient too
  bool throws = true;         // false: mistakes are in the report alone
};

/// The worst element of the gradient by one input.
struct InputCheck {
  int input = 0;
  int order = 1;              // 2: of the gradient's own gradient
  std::int64_t elements = 0;  // compared
  std::int64_t worst = 0;     // row-major number of the worst one
  double gradient = 0;        // what the rules give there
  double slope = 0;           // what the differences give there
  double error = 0;           // |gradient - slope| / max(1, |slope|); infinite if either is NaN
};

struct GradientReport {
  std::vector<InputCheck> checks;  // by input, first order first
  double tolerance = 0;

  bool passed() const;
  double error() const;
  std::int64_t comparisons() const;
};

/// One line per input: its worst element, the gradient and the slope there.
std::string to_string(const GradientReport& report);

/// The gradient of sum(w * fn(inputs)), w fixed weights between 0.5 and 1.5, against its central
/// differences (f(x + h) - f(x - h)) / ((x + h) - (x - h)), the steps as they round. Every element
/// of every f64 input is moved; integers and bools are fed as they are. Throws Error if a floating
/// input or fn's result is not f64, if a gradient is missing, or, where options.throws, if an error
/// exceeds the tolerance: then with the report. Keep the inputs away from kinks.
///
///   check_gradient([](auto x) { return my_op(x[0], x[1]); }, {a, b});
GradientReport check_gradient(const std::function<Expr(std::span<const Expr>)>& fn,
                              std::span<const Tensor> inputs,
                              const GradientCheckOptions& options = {},
                              SourceLoc where = SourceLoc::here());
inline GradientReport check_gradient(const std::function<Expr(std::span<const Expr>)>& fn,
                                     std::initializer_list<Tensor> inputs,
                                     const GradientCheckOptions& options = {},
                                     SourceLoc where = SourceLoc::here()) {
  return check_gradient(fn, std::span(inputs.begin(), inputs.size()), options, where);
}

}  // namespace blockgrad
