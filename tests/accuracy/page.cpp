#include "tests/accuracy/page.h"

#include <cstdio>

namespace accuracy {

namespace {

std::string number(double x, const char* format) {
  char text[40];
  std::snprintf(text, sizeof text, format, x);
  return text;
}

}  // namespace

std::string start_of_row(const Function& f) {
  return "| `" + std::string(f.name) + "` | " + number(f.limit32, "%g") + " | " +
         number(f.limit64, "%g") + " |";
}

std::string page(const std::vector<Measured>& rows, int inner, int outer) {
  const auto every = [](int stride) {
    return stride == 1 ? std::string("all") : "every " + std::to_string(stride) + "th of the";
  };
  std::string text =
      "# Accuracy of the elementwise functions\n\n"
      "Largest errors in ulp (units in the last place of the true value, subnormal ones "
      "included). The bounds are stated for all arguments; `seen` is the largest error found. The "
      "bits are the same on every instruction "
      "set. NaN gives NaN; infinities, zeros with their signs and subnormal numbers give what the "
      "mathematics says; tests/graph/scalar_math_test.cpp has their values. Of silu, gelu_tanh and "
      "gelu in f64, results below "
      "256 times the least normal number (f64: 1024 times) are measured in the last place of that: "
      "the share of x is subnormal there.\n\n"
      "f32: seen on " +
      every(inner) + " numbers from 2^-16 to 2^16 of both signs and " + every(outer) +
      " others, against the C library's f64, whose own error is below 1e-8 ulp of f32. f64: seen "
      "on "
      "random numbers of all sizes, many of them at the least and greatest numbers and where e^x "
      "and e^(-x^2 / 2) overflow or are subnormal, against its long double of 64 bits of "
      "precision. The bounds "
      "are asserted on fewer arguments by each run of the tests. This page is written by "
      "`./run accuracy`.\n\n"
      "| function | bound, f32 | bound, f64 | seen, f32 | at | seen, f64 | at |\n"
      "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n";
  for (const Measured& row : rows) {
    text += start_of_row(row.function) + " " + number(row.single.error, "%.3f") + " | " +
            number(row.single.at, "%.6g") + " | " + number(row.twice.error, "%.3f") + " | " +
            number(row.twice.at, "%.6g") + " |\n";
  }
  return text;
}

std::vector<std::string> instruction_sets() {
  std::vector<std::string> list;
  for (const char* const name : {"portable", "avx2", "avx512", "neon"}) {
    try {
      const blockgrad::Expr x = blockgrad::input("x", {1});
      blockgrad::compile({exp(x)}, {}, blockgrad::cpu(), {.isa = name});
      list.emplace_back(name);
    } catch (const blockgrad::Error&) {
      continue;  // not of this processor or build
    }
  }
  return list;
}

}  // namespace accuracy
