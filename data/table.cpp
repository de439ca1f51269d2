// Table, read_csv, parse_csv: names and rows of a CSV text, and columns as tensors.
#include <utility>

#include "blockgrad/data/readers.h"
#include "data/bytes.h"
#include "data/csv.h"
#include "data/message.h"
#include "data/number.h"

namespace blockgrad::data {

namespace {

std::size_t skip_byte_order_mark(std::string_view text, std::string_view name) {
  require(!text.starts_with("\xFF\xFE") && !text.starts_with("\xFE\xFF"), name,
          ": expected UTF-8 text, got UTF-16");
  return text.starts_with("\xEF\xBB\xBF") ? 3 : 0;
}

}  // namespace

Table::Table(std::string text, std::string name, CsvOptions options)
    : text_(std::make_shared<const std::string>(std::move(text))),
      name_(detail::shown(name, 4096)),
      options_(options) {
  constexpr std::string_view refused("\"\r\n\0.+-", 7);
  const char separator = options.separator;
  const bool is_letter_or_digit = (separator >= '0' && separator <= '9') ||
                                  (separator >= 'a' && separator <= 'z') ||
                                  (separator >= 'A' && separator <= 'Z');
  require(refused.find(separator) == std::string_view::npos && !is_letter_or_digit, name_, ": ",
          detail::in_quotes({&separator, 1}), " cannot separate cells");
  require(static_cast<std::int64_t>(text_->size()) <= options.max_bytes, name_,
          ": expected at most ", options.max_bytes, " bytes, got ", text_->size());

  detail::CsvScanner records(*text_, name_, separator, skip_byte_order_mark(*text_, name_));
  first_byte_ = records.position();
  require(records.next(), name_, ": the file is empty; expected ",
          options.header ? "a line of names" : "rows");
  for (const detail::CsvCell& cell : records.cells())
    names_.push_back(options.header ? detail::unescaped(cell) : std::to_string(names_.size()));
  if (options.header) {
    first_byte_ = records.position();
    first_line_ = records.line();
  } else {
    rows_ = 1;
  }
  while (records.next()) {
    const auto& cells = records.cells();
    require(cells.size() == names_.size(), name_, ":", cells[0].line, ": expected ", names_.size(),
            names_.size() == 1 ? " cell, got " : " cells, got ", cells.size());
    ++rows_;
  }
  require(rows_ > 0, name_, ": expected rows below the line of names, got none");
}

std::size_t Table::find(std::string_view name) const {
  std::size_t found = names_.size();
  for (std::size_t i = 0; i < names_.size(); ++i) {
    if (names_[i] != name) continue;
    require(found == names_.size(), name_, ": two columns are called ", detail::in_quotes(name),
            ": ", found + 1, " and ", i + 1);
    found = i;
  }
  require(found < names_.size(), name_, ": no column ", detail::in_quotes(name),
          "; the columns are ",
          detail::list(names_, [](const std::string& column) { return std::string_view(column); }));
  return found;
}

Tensor Table::select(std::span<const std::string> names, DType dtype) const {
  require(!names.empty(), name_, ": expected the names of columns to select, got none");
  std::vector<std::size_t> columns;
  for (const std::string& name : names) columns.push_back(find(name));
  const TensorType type{dtype, {rows_, static_cast<std::int64_t>(columns.size())}};
  auto data = allocate_bytes(bytes_of(type));
  visit(dtype, [&](auto zero) {
    auto* out = reinterpret_cast<decltype(zero)*>(data.get());
    detail::CsvScanner records(*text_, name_, options_.separator, first_byte_, first_line_);
    while (records.next()) {
      for (const std::size_t column : columns) {
        const detail::CsvCell& cell = records.cells()[column];
        const auto fault = detail::parse_number(cell.text, *out++);
        if (fault == detail::NumberFault::none) continue;
        fail({name_, ":", cell.line, ": column ", detail::in_quotes(names_[column]), ": expected ",
              detail::expected_number(fault, dtype, cell.text)});
      }
    }
  });
  return adopt(type, std::move(data));
}

Tensor Table::select(std::initializer_list<std::string_view> names, DType dtype) const {
  const std::vector<std::string> copies(names.begin(), names.end());
  return select(std::span<const std::string>(copies), dtype);
}

std::vector<std::string> Table::text(std::string_view name) const {
  const std::size_t column = find(name);
  std::vector<std::string> cells;
  detail::CsvScanner records(*text_, name_, options_.separator, first_byte_, first_line_);
  while (records.next()) cells.push_back(detail::unescaped(records.cells()[column]));
  return cells;
}

Table read_csv(const std::string& path, CsvOptions options) {
  return Table(detail::read_text(path, options.max_bytes), path, options);
}

Table parse_csv(std::string_view text, std::string_view name, CsvOptions options) {
  return Table(std::string(text), std::string(name), options);
}

}  // namespace blockgrad::data
