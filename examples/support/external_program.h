#pragma once
// Calls another program with a vector of arguments; no shell reads them.

#include <string>
#include <string_view>
#include <vector>

namespace examples {

/// The path of an executable file in the folders of PATH; "" if there is none.
std::string find_program(std::string_view name);

/// Runs the program at `path` in `folder` and waits for it. Its standard output is dropped, Ctrl-C
/// does not reach it. Throws Error with the end of its standard error unless it ends with 0.
void run_program(const std::string& path, const std::vector<std::string>& arguments,
                 const std::string& folder);

}  // namespace examples
