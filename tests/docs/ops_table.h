#pragma once
// docs/ops.md: every public function of the engine and what its rows have checked.

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace docs {

/// A line of a `.rows` file, as tests/support/row_log.h writes it.
struct Row {
  std::string name, inputs, dtypes;
  bool has_gradient = false, has_second_order = false;
  std::int64_t shapes = 0, cases = 0, comparisons = 0;
};

/// Throws std::runtime_error for a line that is none.
std::vector<Row> parse_rows(const std::string& text);

/// Functions that are not checked with five lists of shapes at least, with how many they have.
std::vector<std::string> functions_short_of_rows(const std::set<std::string>& functions,
                                                 const std::vector<Row>& rows);

/// The page, in Markdown.
std::string ops_page(const std::set<std::string>& functions, const std::vector<Row>& rows);

}  // namespace docs
