#pragma once
// What every example does with its command line. Needs CLI11.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace examples {

/// The exit code of wrong usage; other mistakes give 1.
inline constexpr int usage_exit_code = 2;

/// Reads the command line; a value if the program is to end at once with it: help was printed, or a
/// one-line message about a mistake.
std::optional<int> parse(CLI::App& app, int argc, const char* const* argv);

/// Validators that say in a few words what was expected: "expected a number above 0, got '-1'".
CLI::Validator whole_number(std::int64_t least);
CLI::Validator number_where(const std::string& expected, std::function<bool(double)> fits);

/// A list of finite numbers with commas between: `--inputs 0.5,0.3,0.2`.
CLI::Option* add_numbers(CLI::App& app, const std::string& name, std::vector<double>& values,
                         const std::string& text);

/// For CLI11: says what is wrong with a file that is to be written, before any work is done; "" if
/// nothing is.
std::string check_output_file(const std::string& path);

/// The body of an example's main: what it throws is one line on standard error and exit code 1.
int guarded(const char* name, const std::function<int()>& body);

}  // namespace examples
