#pragma once
// docs/accuracy.md: bounds of the table and the largest errors that a sweep has seen.

#include <string>
#include <vector>

#include "tests/accuracy/sweep.h"

namespace accuracy {

/// What a row says before the errors: the function's name and its bounds.
std::string start_of_row(const Function& f);

struct Measured {
  Function function;
  Worst single, twice;
};
/// The page, in Markdown.
std::string page(const std::vector<Measured>& rows, int inner, int outer);

/// Names of the instruction sets that this processor has.
std::vector<std::string> instruction_sets();

}  // namespace accuracy
