#include "examples/call.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <thread>

namespace example_test {

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::minutes patience(2);

}  // namespace

Answer call(const std::string& example, const std::vector<std::string>& arguments,
            const CallOptions& options) {
  std::vector<std::string> words{BG_EXAMPLES_FOLDER "/" + example};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);

  std::array<int, 2> out{}, err{};
  if (::pipe2(out.data(), O_CLOEXEC) != 0 || ::pipe2(err.data(), O_CLOEXEC) != 0) {
    throw std::runtime_error("cannot make pipes");
  }
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("cannot fork");
  if (child == 0) {
    ::dup2(out[1], STDOUT_FILENO);
    ::dup2(err[1], STDERR_FILENO);
    if (options.path) ::setenv("PATH", options.path->c_str(), 1);
    ::execv(words.front().c_str(), pointers.data());
    ::_exit(127);
  }
  ::close(out[1]);
  ::close(err[1]);

  Answer answer;
  std::array<pollfd, 2> open{pollfd{out[0], POLLIN, 0}, pollfd{err[0], POLLIN, 0}};
  const std::array<std::string*, 2> texts{&answer.out, &answer.err};
  bool is_interrupted = options.interrupt_after.empty();
  const Clock::time_point deadline = Clock::now() + patience;
  while (open[0].fd >= 0 || open[1].fd >= 0) {
    if (Clock::now() > deadline) ::kill(child, SIGKILL);
    ::poll(open.data(), open.size(), 1000);
    for (std::size_t i = 0; i < open.size(); ++i) {
      if (open[i].fd < 0 || open[i].revents == 0) continue;
      std::array<char, 4096> buffer{};
      const ssize_t count = ::read(open[i].fd, buffer.data(), buffer.size());
      if (count <= 0) {
        ::close(open[i].fd);
        open[i].fd = -1;
      } else {
        texts[i]->append(buffer.data(), static_cast<std::size_t>(count));
      }
    }
    if (!is_interrupted && answer.out.find(options.interrupt_after) != std::string::npos) {
      is_interrupted = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(options.interrupt_delay));
      ::kill(child, SIGINT);
    }
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  answer.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return answer;
}

}  // namespace example_test
