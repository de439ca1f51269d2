#include "tests/docs/public_functions.h"

#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <stdexcept>

namespace docs {

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

namespace {

// Structs that hold Exprs, so that several can be given at once.
std::set<std::string> bundles_in(const std::string& text) {
  static const std::regex opening(R"(^struct ([A-Za-z0-9]+) \{)"), member(R"(^  Expr [a-z_, ]+;)");
  std::set<std::string> names;
  std::string open;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (std::regex_search(line, match, opening)) open = match[1];
    if (line.starts_with("}")) open.clear();
    if (!open.empty() && std::regex_search(line, member)) names.insert(open);
  }
  return names;
}

}  // namespace

std::set<std::string> functions_in_header(const std::string& text) {
  static const std::regex declaration(
      R"(^(?:inline )?(?:std::(?:vector|pair|array|tuple)<)?([A-Z][A-Za-z0-9]*)[^(=]*[ >] ?([a-z][a-z0-9_]*)\()");
  std::set<std::string> bundles = bundles_in(text);
  bundles.insert({"Expr", "Loss"});
  std::set<std::string> names;
  std::istringstream lines(text);
  std::string line;
  bool is_private = false;
  while (std::getline(lines, line)) {
    if (line.starts_with("namespace detail {")) is_private = true;
    if (line.starts_with("}  // namespace detail")) is_private = false;
    std::smatch match;
    if (!is_private && std::regex_search(line, match, declaration) && bundles.contains(match[1]))
      names.insert(match[2]);
  }
  return names;
}

std::set<std::string> functions_in_table(const std::string& text) {
  static const std::regex row(R"(^BG_[A-Z]+\(([a-z0-9_]+),)");
  std::set<std::string> names;
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    std::smatch match;
    if (std::regex_search(line, match, row)) names.insert(match[1]);
  }
  return names;
}

std::set<std::string> public_functions(const std::string& root) {
  namespace fs = std::filesystem;
  const fs::path include = fs::path(root) / "include/blockgrad";
  std::vector<fs::path> headers = {include / "graph/view.h", include / "graph/map.h",
                                   include / "graph/reduce.h"};
  for (const fs::directory_entry& entry : fs::directory_iterator(include / "ops"))
    if (entry.path().extension() == ".h") headers.push_back(entry.path());
  std::set<std::string> names = functions_in_table(read_file(include / "graph/scalar.def"));
  for (const fs::path& header : headers) names.merge(functions_in_header(read_file(header)));
  return names;
}

std::string function_of_row(const std::string& row, const std::set<std::string>& functions) {
  for (std::size_t size = row.size(); size != std::string::npos;
       size = size == 0 ? std::string::npos : row.rfind('_', size - 1)) {
    if (const std::string name = row.substr(0, size); functions.contains(name)) return name;
  }
  return "";
}

}  // namespace docs
