#include "data/csv.h"

#include <algorithm>
#include <utility>

#include "data/message.h"

namespace blockgrad::data::detail {

namespace {
constexpr std::size_t max_cell = std::size_t{1} << 20;
constexpr std::size_t max_record = std::size_t{1} << 24;
constexpr std::size_t max_columns = 65536;
}  // namespace

std::string unescaped(const CsvCell& cell) {
  std::string text;
  text.reserve(cell.text.size());
  for (std::size_t i = 0; i < cell.text.size(); ++i) {
    text += cell.text[i];
    if (cell.is_quoted && cell.text[i] == '"') ++i;
  }
  return text;
}

CsvScanner::CsvScanner(std::string_view text, std::string_view name, char separator,
                       std::size_t first, std::int64_t line)
    : text_(text), name_(name), separator_(separator), at_(first), line_(line) {}

bool CsvScanner::next() {
  cells_.clear();
  while (skip_blank_line()) {
  }
  if (at_ == text_.size()) return false;
  const std::size_t first = at_;
  const std::int64_t line = line_;
  for (;;) {
    if (at_ < text_.size() && text_[at_] == '"') scan_quoted_cell();
    else scan_plain_cell();
    if (at_ - first > max_record)
      fail_at(line, join({"expected a record of at most ", max_record, " bytes"}));
    if (cells_.size() > max_columns)
      fail_at(line, join({"expected at most ", max_columns, " cells"}));
    if (at_ == text_.size()) return true;
    if (text_[at_] != separator_) break;
    ++at_;
  }
  skip_line_end();
  return true;
}

bool CsvScanner::skip_blank_line() {
  std::size_t end = at_;
  while (end < text_.size() && is_blank(text_[end])) ++end;
  const std::size_t start = std::exchange(at_, end);
  if (at_ == text_.size()) return at_ != start;
  if (at_line_end()) {
    skip_line_end();
    return true;
  }
  at_ = start;
  return false;
}

void CsvScanner::scan_plain_cell() {
  const std::size_t start = at_;
  const std::size_t limit = std::min(text_.size(), start + max_cell + 1);
  while (at_ < limit && text_[at_] != separator_ && text_[at_] != '\n' && text_[at_] != '\r') {
    if (text_[at_] == '\0') fail_at(line_, "expected text, got a NUL byte");
    ++at_;
  }
  if (at_ - start > max_cell)
    fail_at(line_, join({"expected a cell of at most ", max_cell, " bytes"}));
  if (at_ < text_.size() && text_[at_] == '\r' && !at_line_end())
    fail_at(line_, "expected a line feed after a carriage return");
  std::size_t first = start, last = at_;
  while (first < last && is_blank(text_[first])) ++first;
  while (first < last && is_blank(text_[last - 1])) --last;
  cells_.push_back({text_.substr(first, last - first), line_, false});
}

void CsvScanner::scan_quoted_cell() {
  const std::int64_t opened = line_;
  const std::size_t start = ++at_;
  for (;; ++at_) {
    if (at_ == text_.size()) fail_at(opened, "the quote that opens a cell here is never closed");
    if (at_ - start > max_cell)
      fail_at(opened, join({"expected a cell of at most ", max_cell,
                            " bytes; the quote that opens it here may not be closed"}));
    const char c = text_[at_];
    if (c == '\0') fail_at(line_, "expected text, got a NUL byte");
    if (c == '\n') ++line_;
    if (c != '"') continue;
    if (at_ + 1 == text_.size() || text_[at_ + 1] != '"') break;
    ++at_;
  }
  cells_.push_back({text_.substr(start, at_ - start), opened, true});
  ++at_;
  if (at_ < text_.size() && text_[at_] != separator_ && !at_line_end())
    fail_at(line_, join({"expected a separator or the end of the line after a closing quote, got ",
                         in_quotes(text_.substr(at_, 1))}));
}

// A carriage return as the last byte ends a line too: the line feed was cut off.
bool CsvScanner::at_line_end() const {
  if (text_[at_] == '\n') return true;
  return text_[at_] == '\r' && (at_ + 1 == text_.size() || text_[at_ + 1] == '\n');
}

void CsvScanner::skip_line_end() {
  if (text_[at_] == '\r') ++at_;
  if (at_ < text_.size()) ++at_;
  ++line_;
}

void CsvScanner::fail_at(std::int64_t line, std::string_view what) const {
  fail({name_, ":", line, ": ", what});
}

}  // namespace blockgrad::data::detail
