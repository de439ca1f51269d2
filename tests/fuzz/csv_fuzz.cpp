// Any text is a table or an Error; the cells of a table, written again with quotes, make the same
// table.
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "blockgrad/data/readers.h"

using namespace blockgrad;
using namespace blockgrad::data;

namespace {

void append_quoted(std::string& text, const std::string& cell) {
  text += '"';
  for (const char c : cell) text.append(c == '"' ? 2 : 1, c);
  text += '"';
}

// Cells of columns whose names are unique.
std::vector<std::vector<std::string>> columns(const Table& table) {
  std::vector<std::vector<std::string>> result;
  for (const std::string& name : table.names()) result.push_back(table.text(name));
  return result;
}

void check(const Table& table, const CsvOptions& options) {
  const auto cells = columns(table);
  std::string again;
  for (std::size_t row = 0; row < static_cast<std::size_t>(table.rows()); ++row) {
    for (std::size_t column = 0; column < cells.size(); ++column) {
      if (column > 0) again += options.separator;
      append_quoted(again, cells[column].at(row));
    }
    again += "\r\n";
  }
  if (columns(parse_csv(again, "again", options)) != cells) std::abort();
  for (const std::string& name : table.names()) {
    for (const DType dtype :
         {DType::f32, DType::f64, DType::i32, DType::i64, DType::u8, DType::boolean}) {
      try {
        const Tensor column = table.select({name}, dtype);
        if (column.shape()[0] != table.rows()) std::abort();
      } catch (const Error&) {
      }
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  constexpr std::string_view separators = ",;\t |:";
  CsvOptions options{.separator = separators[data[0] % separators.size()]};
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    const Table table = parse_csv(text, "fuzz", options);
    table.select(table.names());
  } catch (const Error&) {
  }
  options.header = false;  // so that names are unique
  std::optional<Table> table;
  try {
    table = parse_csv(text, "fuzz", options);
  } catch (const Error&) {
    return 0;
  }
  check(*table, options);
  return 0;
}
