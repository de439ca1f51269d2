#include "support/table.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace examples {

namespace {

/// Characters of UTF-8 text: bytes that do not continue a character.
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

}  // namespace

Table::Table(std::vector<std::string> heads) { rows_.push_back(std::move(heads)); }

void Table::add(std::vector<std::string> cells) {
  cells.resize(rows_.front().size());
  rows_.push_back(std::move(cells));
}

std::string Table::to_string() const {
  std::vector<std::size_t> widths(rows_.front().size());
  std::size_t total = 0;
  for (std::size_t c = 0; c < widths.size(); ++c) {
    for (const auto& row : rows_) widths[c] = std::max(widths[c], width(row[c]));
    total += widths[c] + (c == 0 ? 0 : 2);
  }
  std::string text;
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    for (std::size_t c = 0; c < widths.size(); ++c) {
      const std::string& cell = rows_[r][c];
      const std::string blanks(widths[c] - width(cell), ' ');
      text += c == 0 ? "  " + cell + blanks : "  " + blanks + cell;
    }
    text += "\n";
    if (r == 0) text += "  " + std::string(total, '-') + "\n";
  }
  return text;
}

}  // namespace examples
