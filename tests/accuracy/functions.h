#pragma once
// The functions whose accuracy docs/accuracy.md states: as users call them, and in higher
// precision.

#include <span>

#include "blockgrad/blockgrad.h"

namespace accuracy {

struct Function {
  const char* name;
  blockgrad::Expr (*of)(blockgrad::Arg x);
  double (*reference)(double x);                 // for f32
  long double (*wide_reference)(long double x);  // for f64
  double limit32, limit64;                       // bounds in ulp, for all arguments
  /// Results below 2^small times the least normal number are measured in the last place of that: of
  /// x times a share, the share may be subnormal where the result is not.
  int small32 = 0, small64 = 0;
};

std::span<const Function> functions();

}  // namespace accuracy
