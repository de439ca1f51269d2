#include "tests/docs/ops_table.h"

#include <algorithm>
#include <map>
#include <sstream>
#include <stdexcept>

#include "tests/docs/public_functions.h"

namespace docs {

namespace {

// What all rows of one function say together.
struct Entry {
  std::set<std::string> inputs, dtypes;
  bool has_gradient = false, has_second_order = false;
  std::int64_t cases = 0, comparisons = 0;

  void add(const Row& row) {
    inputs.insert(row.inputs);
    std::istringstream words(row.dtypes);
    for (std::string word; words >> word;) dtypes.insert(word);
    has_gradient = has_gradient || row.has_gradient;
    has_second_order = has_second_order || row.has_second_order;
    cases += row.cases;
    comparisons += row.comparisons;
  }
};

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

// "number number index" -> "2 numbers, index".
std::string in_words(const std::string& inputs) {
  std::vector<std::pair<std::string, int>> runs;
  std::istringstream words(inputs);
  for (std::string word; words >> word;) {
    if (runs.empty() || runs.back().first != word) runs.push_back({word, 0});
    ++runs.back().second;
  }
  std::vector<std::string> parts;
  for (const auto& [word, count] : runs) {
    const std::string many = word == "index" ? "indices" : word + "s";
    parts.push_back(count == 1 ? word : std::to_string(count) + " " + many);
  }
  return parts.empty() ? "none" : joined(parts, ", ");
}

// One form where all rows agree, else several.
std::string inputs_of(const Entry& entry) {
  std::vector<std::string> forms;
  for (const std::string& inputs : entry.inputs) forms.push_back(in_words(inputs));
  std::sort(forms.begin(), forms.end(), [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
  });
  constexpr std::size_t most = 3;
  if (forms.size() > most) forms.resize(most), forms.push_back("…");
  return joined(forms, "; ");
}

// The usual order, not the alphabet's.
std::string dtypes_of(const Entry& entry) {
  std::vector<std::string> found;
  for (const char* name : {"f64", "f32", "bf16", "f16", "i64", "i32", "u8", "bool"}) {
    if (entry.dtypes.contains(name)) found.push_back(name);
  }
  return joined(found, " ");
}

// 1234567 -> "1,234,567".
std::string grouped(std::int64_t number) {
  std::string digits = std::to_string(number);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<std::size_t>(at), ",");
  return digits;
}

std::string line_of(const std::string& name, const Entry& entry) {
  return "| " + name + " | " + inputs_of(entry) + " | " + dtypes_of(entry) + " | " +
         (entry.has_gradient ? "checked" : "none") + " | " +
         (entry.has_second_order ? "checked"
          : entry.has_gradient   ? "no"
                                 : "none") +
         " | " + grouped(entry.cases) + " | " + grouped(entry.comparisons) + " |\n";
}

constexpr const char* head =
    "| op | inputs | dtypes | gradient | second order | cases | comparisons |\n"
    "| --- | --- | --- | --- | --- | ---: | ---: |\n";

}  // namespace

std::vector<Row> parse_rows(const std::string& text) {
  std::vector<Row> rows;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::vector<std::string> fields;
    std::istringstream in(line);
    for (std::string field; std::getline(in, field, '\t');) fields.push_back(field);
    if (fields.size() != 8) throw std::runtime_error("no row: " + line);
    rows.push_back({fields[0], fields[1], fields[2], fields[3] == "yes", fields[4] == "yes",
                    std::stoll(fields[5]), std::stoll(fields[6]), std::stoll(fields[7])});
  }
  return rows;
}

std::vector<std::string> functions_short_of_rows(const std::set<std::string>& functions,
                                                 const std::vector<Row>& rows) {
  constexpr std::int64_t fewest = 5;
  std::map<std::string, std::int64_t> shapes;
  for (const std::string& function : functions) shapes[function] = 0;
  for (const Row& row : rows) {
    if (const std::string function = function_of_row(row.name, functions); !function.empty())
      shapes[function] += row.shapes;
  }
  std::vector<std::string> found;
  for (const auto& [function, count] : shapes) {
    if (count < fewest) found.push_back(function + " (" + std::to_string(count) + ")");
  }
  return found;
}

std::string ops_page(const std::set<std::string>& functions, const std::vector<Row>& rows) {
  std::map<std::string, Entry> ops, formulas;
  Entry total;
  for (const Row& row : rows) {
    const std::string function = function_of_row(row.name, functions);
    if (function.empty()) formulas[row.name].add(row);
    else ops[function].add(row);
    total.add(row);
  }
  std::int64_t differentiable = 0;
  for (const auto& [name, entry] : ops) differentiable += entry.has_gradient ? 1 : 0;
  const auto count = static_cast<std::int64_t>(ops.size());
  std::string text =
      "# Ops\n\n"
      "Written by `./run docs` from the rows of tests/ops; a public function without rows fails "
      "the tests.\n\n" +
      grouped(count) + " public functions, all with rows: " + grouped(differentiable) +
      " have a gradient, each checked; " + grouped(count - differentiable) +
      " give integers, bools or numbers that nothing flows to. " + grouped(total.cases) +
      " cases made " + grouped(total.comparisons) +
      " comparisons.\n\n"
      "A case is a row with one list of shapes and one dtype. It compares the value with a slow\n"
      "reference in f64; gradients with central differences in f64 at every element, and f32\n"
      "gradients with f64 ones; the gradient of the gradient likewise (second order); all results\n"
      "with every subset of inputs constant, through transposed, sliced and broadcast views, with\n"
      "each compiler pass left out, without memory reuse, on portable code and other numbers of\n"
      "threads, bit for bit; and what the op refuses with its exact message.\n\n";
  text += head;
  for (const auto& [name, entry] : ops) text += line_of("`" + name + "`", entry);
  text += "\nFormulas of several ops, checked the same way:\n\n";
  text += head;
  for (const auto& [name, entry] : formulas) text += line_of(name, entry);
  return text;
}

}  // namespace docs
