#include "ladder/peer_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <utility>

#include "blockgrad/graph/error.h"

namespace bench {

namespace bg = blockgrad;

PeerProcess::PeerProcess(PeerCommand command) : command_(std::move(command)) {
  std::signal(SIGPIPE, SIG_IGN);
  std::array<int, 2> to{}, from{};
  bg::require(::pipe2(to.data(), O_CLOEXEC) == 0 && ::pipe2(from.data(), O_CLOEXEC) == 0,
              "cannot make a pipe: ", std::strerror(errno));
  const std::string number = std::to_string(command_.threads);
  const char* const python = command_.python.c_str();
  process_ = ::fork();
  bg::require(process_ >= 0, "cannot start ", command_.python, ": ", std::strerror(errno));
  if (process_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::signal(SIGINT, SIG_IGN);
    const int log = ::open(command_.log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (log >= 0) ::dup2(log, STDERR_FILENO);
    ::dup2(to[0], STDIN_FILENO);
    ::dup2(from[1], STDOUT_FILENO);
    ::execl(python, python, "-B", command_.worker.c_str(), command_.framework.c_str(),
            command_.mode.c_str(), number.c_str(), command_.device.c_str(), command_.math.c_str(),
            nullptr);
    ::_exit(127);
  }
  ::close(to[0]);
  ::close(from[1]);
  requests_ = ::fdopen(to[1], "w");
  answers_ = ::fdopen(from[0], "r");
  std::setvbuf(answers_, nullptr, _IONBF, 0);  // poll() does not see what a buffer holds
}

PeerProcess::~PeerProcess() {
  std::fclose(requests_);  // the worker ends with its input, unless it is busy
  std::fclose(answers_);
  constexpr int naps = 300;
  for (int i = 0; i < naps; ++i) {
    if (::waitpid(process_, nullptr, WNOHANG) != 0) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
}

void PeerProcess::ask(const nlohmann::json& request) {
  std::fprintf(requests_, "%s\n", request.dump().c_str());
  std::fflush(requests_);
}

void PeerProcess::stop() {
  ::kill(process_, SIGKILL);
  is_alive_ = false;
}

nlohmann::json PeerProcess::answer(double patience) {
  // An answer is one line, and comes as a whole.
  pollfd waiting{::fileno(answers_), POLLIN, 0};
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(patience);
  int ready = 0;
  do {  // again if a signal ends the waiting
    const std::chrono::duration<double, std::milli> left = end - std::chrono::steady_clock::now();
    ready = ::poll(&waiting, 1, static_cast<int>(std::ceil(std::max(0.0, left.count()))));
  } while (ready < 0 && errno == EINTR);
  const bool is_in_time = ready > 0;
  if (!is_in_time) stop();
  bg::require(is_in_time, "no answer in time");
  char* line = nullptr;
  std::size_t size = 0;
  const bool is_there = ::getline(&line, &size, answers_) > 0;
  const std::string text = is_there ? line : "";
  std::free(line);
  if (!is_there) stop();
  bg::require(is_there, "ended without an answer; ", command_.log, " may say why");
  nlohmann::json reply = nlohmann::json::parse(text);
  bg::require(!reply.contains("error"), reply.value("error", std::string()));
  return reply;
}

const std::string& PeerProcess::version(double patience) {
  if (version_.empty()) version_ = answer(patience)["version"];
  return version_;
}

void PeerProcess::load(const std::string& path) { ask({{"load", path}, {"train", loss_steps}}); }

double PeerProcess::loss(double patience) {
  version(patience);  // of a process that was just started
  return answer(patience)["loss"];
}

double PeerProcess::seconds(std::int64_t steps, double patience) {
  ask({{"steps", steps}});
  return answer(patience)["seconds"];
}

}  // namespace bench
