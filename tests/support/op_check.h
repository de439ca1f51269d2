#pragma once
// What every row of an op must pass: values against a slow reference in double, gradients against
// central differences, equal bits however the program is compiled, exact messages. A row becomes a
// test case of the suite around it.

#include <vector>

#include "tests/support/op_case.h"

namespace op_check {

/// The checks of one row; failures go to Boost.Test. `file` is where the row stands.
void check(const OpCase& row, const char* file);

/// Adds a case per row to the suite that is open where this is called during static initialization.
bool add_cases(std::vector<OpCase> rows, const char* file, int line);

}  // namespace op_check

/// Rows of a suite: `BG_CASES(rows())` between BOOST_AUTO_TEST_SUITE and its end.
#define BG_CASES(...) \
  [[maybe_unused]] const bool has_rows = op_check::add_cases(__VA_ARGS__, __FILE__, __LINE__);
