#include "backends/text_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace blockgrad {

std::string with_unit(double value, const std::string& unit) {
  constexpr std::array<const char*, 6> prefixes{"", "k", "M", "G", "T", "P"};
  std::size_t p = 0;
  while (std::abs(value) >= 999.5 && p + 1 < prefixes.size()) {
    value /= 1000;
    ++p;
  }
  const std::string digits = p == 0 && value == std::floor(value) ? fmt::format("{}", value)
                             : std::abs(value) >= 99.5            ? fmt::format("{:.0f}", value)
                             : std::abs(value) >= 9.95            ? fmt::format("{:.1f}", value)
                                                                  : fmt::format("{:.2f}", value);
  const std::string tail = prefixes[p] + unit;
  return tail.empty() ? digits : digits + " " + tail;
}

std::string table_text(const std::vector<std::vector<std::string>>& rows,
                       const std::vector<std::size_t>& right) {
  std::vector<std::size_t> widths(rows.empty() ? 0 : rows[0].size(), 0);
  for (const auto& row : rows) {
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string text;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    std::string line;
    for (std::size_t c = 0; c < rows[r].size(); ++c) {
      const std::string blanks(widths[c] - rows[r][c].size(), ' ');
      const bool is_right = std::find(right.begin(), right.end(), c) != right.end();
      line += "  " + (is_right ? blanks + rows[r][c] : rows[r][c] + blanks);
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    text += line + "\n";
    if (r > 0) continue;
    line.clear();
    for (const std::size_t width : widths) line += "  " + std::string(width, '-');
    text += line + "\n";
  }
  return text;
}

namespace {

// The last place where a line may be cut with at most `width` characters before it, or else the
// first one behind; 0: nowhere.
std::size_t cut_of(std::string_view line, std::size_t width) {
  std::size_t cut = 0;
  int depth = 0;
  const std::size_t begin = std::min(line.find_first_not_of(' '), line.size());
  for (std::size_t i = begin; i + 1 < line.size(); ++i) {
    depth += (line[i] == '[') - (line[i] == ']');
    if (line[i] != ' ' || depth > 0) continue;
    const bool is_behind = line[i - 1] == ',' || line[i - 1] == ';';
    if (!is_behind && line.substr(i, 3) != " | ") continue;
    if (i > width) return cut == 0 ? i : cut;
    cut = i;
  }
  return cut;
}

}  // namespace

std::string folded(const std::string& text, std::size_t width) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    const std::size_t blanks = std::min(line.find_first_not_of(' '), line.size());
    while (line.size() > width) {
      const std::size_t cut = cut_of(line, width);
      if (cut == 0) break;
      out += line.substr(0, cut) + "\n";
      line = std::string(blanks + 4, ' ') + line.substr(cut + 1);
    }
    out += line;
    if (end < text.size()) out += "\n";
    at = end + 1;
  }
  return out;
}

}  // namespace blockgrad
