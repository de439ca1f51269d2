#include "support/command_line.h"

#include <unistd.h>

#include <charconv>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <utility>

namespace examples {

namespace {

template <class T>
std::optional<T> read(const std::string& text) {
  T value{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end ? std::optional(value) : std::nullopt;
}

std::string complaint(const std::string& expected, const std::string& text) {
  return "expected " + expected + ", got '" + text + "'";
}

}  // namespace

CLI::Validator whole_number(std::int64_t least) {
  const auto check = [least](const std::string& text) -> std::string {
    const std::optional<std::int64_t> value = read<std::int64_t>(text);
    if (value && *value >= least) return "";
    return complaint("a whole number from " + std::to_string(least) + " on", text);
  };
  return CLI::Validator(check, "");
}

CLI::Validator number_where(const std::string& expected, std::function<bool(double)> fits) {
  const auto check = [expected, fits = std::move(fits)](const std::string& text) -> std::string {
    const std::optional<double> value = read<double>(text);
    return value && std::isfinite(*value) && fits(*value) ? "" : complaint(expected, text);
  };
  return CLI::Validator(check, "");
}

CLI::Option* add_numbers(CLI::App& app, const std::string& name, std::vector<double>& values,
                         const std::string& text) {
  return app.add_option(name, values, text)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(number_where("a number", [](double) { return true; }))
      ->type_name("A,B,..");
}

std::optional<int> parse(CLI::App& app, int argc, const char* const* argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    return 0;
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "%s: %s (see --help)\n", app.get_name().c_str(), error.what());
    return usage_exit_code;
  }
  return std::nullopt;
}

std::string check_output_file(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (path.empty()) return "expected a file to write, got an empty name";
  const fs::path folder = fs::absolute(path, ignored).parent_path();
  if (!fs::is_directory(folder, ignored)) return path + ": there is no folder " + folder.string();
  if (::access(folder.c_str(), W_OK) != 0) return path + ": the folder cannot be written";
  if (fs::exists(path, ignored) && !fs::is_regular_file(path, ignored))
    return path + ": is not a regular file";
  return "";
}

int guarded(const char* name, const std::function<int()>& body) {
  try {
    return body();
  } catch (const std::exception& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return 1;
  }
}

}  // namespace examples
