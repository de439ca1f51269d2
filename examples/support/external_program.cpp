#include "support/external_program.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "blockgrad/graph/error.h"

namespace examples {

namespace {

using blockgrad::fail;

/// In the child: only calls that are safe after fork in a program with threads.
[[noreturn]] void become(const char* path, char* const* arguments, const char* folder,
                         int standard_error) {
  std::signal(SIGINT, SIG_IGN);
  const int nowhere = ::open("/dev/null", O_RDWR);
  const bool is_ready = nowhere >= 0 && ::dup2(nowhere, STDIN_FILENO) >= 0 &&
                        ::dup2(nowhere, STDOUT_FILENO) >= 0 &&
                        ::dup2(standard_error, STDERR_FILENO) >= 0 && ::chdir(folder) == 0;
  if (is_ready) ::execv(path, arguments);
  ::_exit(127);
}

std::string read_end(int descriptor) {
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t count = ::read(descriptor, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    text.append(buffer, static_cast<std::size_t>(count));
    if (text.size() > 2000) text.erase(0, text.size() - 2000);
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

}  // namespace

std::string find_program(std::string_view name) {
  const char* variable = std::getenv("PATH");
  std::string_view rest = variable ? variable : "";
  while (!rest.empty()) {
    const std::size_t end = rest.find(':');
    const std::string_view folder = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    if (folder.empty()) continue;
    const std::string path = std::string(folder) + "/" + std::string(name);
    std::error_code ignored;
    if (std::filesystem::is_regular_file(path, ignored) && ::access(path.c_str(), X_OK) == 0) {
      return std::filesystem::absolute(path);
    }
  }
  return "";
}

void run_program(const std::string& path, const std::vector<std::string>& arguments,
                 const std::string& folder) {
  std::vector<std::string> copies{path};
  copies.insert(copies.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& copy : copies) pointers.push_back(copy.data());
  pointers.push_back(nullptr);

  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) fail({"cannot call ", path, ": ", std::strerror(errno)});
  const pid_t child = ::fork();
  if (child < 0) {
    const std::string reason = std::strerror(errno);
    ::close(ends[0]);
    ::close(ends[1]);
    fail({"cannot call ", path, ": ", reason});
  }
  if (child == 0) become(path.c_str(), pointers.data(), folder.c_str(), ends[1]);
  ::close(ends[1]);
  const std::string complaint = read_end(ends[0]);
  ::close(ends[0]);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  fail({path, " failed", complaint.empty() ? "" : ": ", complaint});
}

}  // namespace examples
