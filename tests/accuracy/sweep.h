#pragma once
// Largest errors of a function over many arguments, as a compiled program computes it.

#include <cstdint>
#include <string>

#include "tests/accuracy/functions.h"

namespace accuracy {

struct Worst {
  double error = 0;  // in ulp; infinite where NaN, an infinity or a number is in place of another
  double at = 0;
  std::uint64_t arguments = 0;
};

/// f32 against f64 of the C library, whose own error is below 1e-8 ulp of f32: every `inner`-th bit
/// pattern of the numbers from 2^-16 to 2^16 of both signs, and every `outer`-th of all others.
Worst sweep_floats(const Function& f, const std::string& isa, int inner, int outer);

/// f64 against long double (80 bits or more), at random bit patterns, at random numbers up to 1, 7,
/// 40 and 800 in size, and where numbers or results end: at the least and greatest numbers, and
/// around 708.4 and 37.6, where e^x and e^(-x^2 / 2) overflow or become subnormal.
Worst sweep_doubles(const Function& f, const std::string& isa, int arguments);

/// The first argument for which two instruction sets give different bits; NaN if there is none. Two
/// NaN are equal. f32: every `stride`-th bit pattern; f64: `arguments` as above.
double first_float_difference(const Function& f, const std::string& isa, const std::string& other,
                              int stride);
double first_double_difference(const Function& f, const std::string& isa, const std::string& other,
                               int arguments);

}  // namespace accuracy
