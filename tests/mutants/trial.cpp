#include "tests/mutants/trial.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>
#include <stdexcept>

extern char** environ;

namespace mutants {

namespace fs = std::filesystem;

namespace {

constexpr const char* table = "include/blockgrad/graph/scalar.def";
constexpr const char* reader_of_table = "graph/scalar_derivative.cpp";
// A mutant may run for ever.
constexpr const char* time_limit = "timeout -s KILL 120 ";

// The exit code, or -1 if a signal ended it.
int run_shell(const std::string& command) {
  std::string shell = "sh", option = "-c", text = command;
  char* const arguments[] = {shell.data(), option.data(), text.data(), nullptr};
  pid_t child = 0;
  if (::posix_spawn(&child, "/bin/sh", nullptr, nullptr, arguments, environ) != 0)
    throw std::runtime_error("cannot start a shell");
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string output_of(const std::string& command) {
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (!pipe) throw std::runtime_error("cannot start " + command);
  std::string text;
  std::array<char, 4096> piece{};
  while (const std::size_t size = std::fread(piece.data(), 1, piece.size(), pipe))
    text.append(piece.data(), size);
  ::pclose(pipe);
  return text;
}

std::string quoted(const std::string& text) {
  std::string safe = "'";
  for (const char c : text) safe += c == '\'' ? "'\\''" : std::string(1, c);
  return safe + "'";
}

std::string replaced(const std::string& text, const char* pattern, const std::string& by) {
  std::smatch match;
  if (!std::regex_search(text, match, std::regex(pattern)))
    throw std::runtime_error("no " + std::string(pattern) + " in: " + text);
  return match.prefix().str() + by + match.suffix().str();
}

void write_lines(const fs::path& path, const std::vector<std::string>& lines) {
  fs::create_directories(path.parent_path());
  std::ofstream out(path);
  for (const std::string& line : lines) out << line << '\n';
}

// The command that links the tests, and where it runs.
std::pair<std::string, std::string> link_of(const std::string& folder) {
  if (fs::exists(folder + "/build.ninja")) {
    std::istringstream commands(
        output_of("ninja -C " + quoted(folder) + " -t commands tests/test_ops"));
    std::string last;
    for (std::string line; std::getline(commands, line);) {
      if (line.find("test_ops") != std::string::npos) last = line;
    }
    return {last, folder};
  }
  return {read_lines(folder + "/tests/CMakeFiles/test_ops.dir/link.txt").at(0), folder + "/tests"};
}

}  // namespace

Build::Build(std::string root, std::string folder)
    : root_(std::move(root)), folder_(std::move(folder)) {
  std::tie(link_, link_folder_) = link_of(folder_);
  // "linalg*", then indented "matmul*".
  std::istringstream list(output_of(quoted(folder_ + "/tests/test_ops") + " --list_content 2>&1"));
  for (std::string line; std::getline(list, line);) {
    const std::size_t first = line.find_first_not_of(' '), last = line.find('*');
    if (first != 0 && last != std::string::npos) cases_.insert(line.substr(first, last - first));
  }
  if (cases_.empty()) throw std::runtime_error("test_ops lists no cases");
}

std::string Build::compile_command(const std::string& source) const {
  std::ifstream in(folder_ + "/compile_commands.json");
  const nlohmann::json commands = nlohmann::json::parse(in, nullptr, false);
  if (commands.is_discarded()) throw std::runtime_error("no compile_commands.json in " + folder_);
  for (const nlohmann::json& entry : commands) {
    if (entry.at("file").get<std::string>().ends_with("/" + source))
      return "cd " + quoted(entry.at("directory").get<std::string>()) + " && " +
             entry.at("command").get<std::string>();
  }
  throw std::runtime_error("no command compiles " + source);
}

bool Build::has_rows(const std::string& op) const {
  const auto at = cases_.lower_bound(op);
  return !op.empty() && at != cases_.end() && at->starts_with(op);
}

Verdict Build::attempt(const Edit& edit, const std::string& work) const {
  std::vector<std::string> lines = read_lines(root_ + "/" + edit.file);
  lines.at(static_cast<std::size_t>(edit.line) - 1) = edit.after;
  fs::remove_all(work);
  write_lines(fs::path(work) / edit.file, lines);

  // A row of the table is read again by the one file that reads what rows send back.
  const bool is_row = edit.file == table;
  const std::string source = is_row ? reader_of_table : edit.file;
  const std::string compiled = (is_row ? root_ : work) + "/" + source;
  const std::string object = work + "/mutant.o", program = work + "/mutant";
  std::string compile = compile_command(source);
  compile = replaced(compile, R"( -I)", " -I" + quoted(work + "/include") + " -I");
  compile = replaced(compile, R"( -o \S+)", " -O0 -g0 -w -o " + quoted(object));
  compile = replaced(compile, R"( -c \S+)", " -c " + quoted(compiled));
  const std::string quiet = " > " + quoted(work + "/log") + " 2>&1";
  const int compiles = run_shell("(" + compile + ")" + quiet);
  if (compiles == -1) return Verdict::interrupted;
  if (compiles != 0) return Verdict::does_not_compile;
  const std::string link =
      replaced(link_, R"( -o \S+)", " -o " + quoted(program) + " " + quoted(object));
  if (run_shell("(cd " + quoted(link_folder_) + " && " + link + ")" + quiet) != 0)
    return Verdict::interrupted;

  const std::string tests = "cd " + quoted(root_) + " && BLOCKGRAD_FIRST_FAILURE=1 " + time_limit +
                            quoted(program) + " --report_level=no --log_level=nothing";
  if (has_rows(edit.op) && run_shell(tests + " --run_test='*/" + edit.op + "*'" + quiet) != 0)
    return Verdict::caught;
  return run_shell(tests + quiet) == 0 ? Verdict::survived : Verdict::caught;
}

}  // namespace mutants
