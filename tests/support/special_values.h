#pragma once
// What tables of special values share: the numbers at the edges of a type, and how closely results
// must agree.

#include <functional>
#include <vector>

#include "blockgrad/backends/program.h"

namespace op_check {

/// Numbers of the type under test; everything is compared in double.
struct Limits {
  double inf, nan, max;
  double tiny;     // the smallest denormal
  double epsilon;  // of 1
};

/// Equal but for rounding and a last denormal; NaN and infinities exactly.
bool fits(double got, double want, const Limits& limits);

blockgrad::Tensor column(const std::vector<double>& values, blockgrad::DType dtype);

/// Runs a check in f64 and f32, with all passes and with none; failures name the way.
void in_every_way(const std::function<void(blockgrad::DType, const Limits&,
                                           const blockgrad::CompileOptions&)>& check);

/// Limits of f64.
Limits double_limits();

}  // namespace op_check
