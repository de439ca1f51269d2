#pragma once
// Table: rows of cells as text, columns lined up.

#include <string>
#include <vector>

namespace examples {

class Table {
 public:
  explicit Table(std::vector<std::string> heads);
  /// One row, a cell for each head.
  void add(std::vector<std::string> cells);
  /// The heads, a rule, the rows; the first column to the left, all others to the right.
  std::string to_string() const;

 private:
  std::vector<std::vector<std::string>> rows_;  // the heads first
};

}  // namespace examples
