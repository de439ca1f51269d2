#include "support/command_line.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>

namespace examples {

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

}  // namespace examples
