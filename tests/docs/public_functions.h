#pragma once
// What users may call to build graphs, read from the public headers as they are laid out by
// clang-format: declarations of namespaces start in the first column.

#include <set>
#include <string>
#include <vector>

namespace docs {

/// Names of the functions in namespace blockgrad that give an Expr, several, a struct of them, or a
/// Loss. Operators, members and namespace detail do not count.
std::set<std::string> functions_in_header(const std::string& text);
/// The functions of the elementwise language that users see as ops.
std::set<std::string> functions_in_table(const std::string& text);

/// Of include/blockgrad/ops/*.h, graph/view.h, map.h, reduce.h and scalar.def below `root`. Throws
/// std::runtime_error if a file cannot be read.
std::set<std::string> public_functions(const std::string& root);

/// The longest of `functions` that `row` starts with, up to its end or an underscore; else "".
std::string function_of_row(const std::string& row, const std::set<std::string>& functions);

std::string read_file(const std::string& path);

}  // namespace docs
