#pragma once
// CsvScanner: walks over the records of a CSV text without copying it.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "blockgrad/data/readers.h"

namespace blockgrad::data::detail {

struct CsvCell {
  std::string_view text;  // without the outer quotes; a quote inside is still written as two
  std::int64_t line = 0;
  bool is_quoted = false;
};

/// The cell's text as it is meant.
std::string unescaped(const CsvCell& cell);

class CsvScanner {
 public:
  /// Starts at byte `first`, which is the beginning of line `line`. The text must outlive the
  /// scanner.
  CsvScanner(std::string_view text, std::string_view name, char separator, std::size_t first = 0,
             std::int64_t line = 1);

  /// Goes to the next record that is not a blank line; false at the end of the text. Throws Error
  /// for what is no CSV and for what exceeds a limit; the form and the limits are those of Table.
  bool next();

  /// Of the current record; valid until the next call of next().
  const std::vector<CsvCell>& cells() const { return cells_; }
  /// Where the next record begins.
  std::size_t position() const { return at_; }
  std::int64_t line() const { return line_; }

 private:
  bool skip_blank_line();
  void scan_plain_cell();
  void scan_quoted_cell();
  bool at_line_end() const;
  void skip_line_end();
  bool is_blank(char c) const { return (c == ' ' || c == '\t') && c != separator_; }
  [[noreturn]] void fail_at(std::int64_t line, std::string_view what) const;

  std::string_view text_;
  std::string_view name_;
  char separator_;
  std::size_t at_;
  std::int64_t line_;
  std::vector<CsvCell> cells_;
};

}  // namespace blockgrad::data::detail
