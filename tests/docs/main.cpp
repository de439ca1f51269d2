// docs_ops ROOT FOLDER SUITES MODE: the `.rows` files of the suites (separated by commas) in FOLDER
// against the public functions below ROOT. Fails where a function has fewer than 5 lists of shapes;
// then MODE rows ends, write writes docs/ops.md, and check fails where that page is out of date.
#include <cstdio>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "tests/docs/ops_table.h"
#include "tests/docs/public_functions.h"

namespace {

int run(const std::string& root, const std::string& folder, const std::string& suites,
        std::string_view mode) {
  std::vector<docs::Row> rows;
  std::istringstream names(suites);
  for (std::string name; std::getline(names, name, ',');) {
    const std::string path = folder + "/" + name + ".rows";
    for (docs::Row& row : docs::parse_rows(docs::read_file(path))) rows.push_back(std::move(row));
  }
  const std::set<std::string> functions = docs::public_functions(root);
  if (const auto found = docs::functions_short_of_rows(functions, rows); !found.empty()) {
    std::fputs("public functions with fewer than 5 lists of shapes in tests/ops:", stderr);
    for (const std::string& name : found) std::fprintf(stderr, " %s", name.c_str());
    std::fputs("\n", stderr);
    return 1;
  }
  if (mode == "rows") return 0;
  const std::string path = root + "/docs/ops.md", page = docs::ops_page(functions, rows);
  if (mode == "write") {
    std::ofstream(path, std::ios::binary) << page;
    std::printf("docs/ops.md: %zu functions, %zu rows\n", functions.size(), rows.size());
    return 0;
  }
  if (docs::read_file(path) == page) return 0;
  std::fputs("docs/ops.md is out of date; write it again with: ./run docs\n", stderr);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc == 5) return run(argv[1], argv[2], argv[3], argv[4]);
    std::fputs("usage: docs_ops ROOT FOLDER SUITES rows|write|check\n", stderr);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "docs_ops: %s\n", error.what());
  }
  return 2;
}
