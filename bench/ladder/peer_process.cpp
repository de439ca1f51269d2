#include "ladder/peer_process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "blockgrad/graph/error.h"

namespace bench {

namespace bg = blockgrad;

PeerProcess::PeerProcess(const std::string& python, const std::string& framework,
                         const std::string& mode, int threads)
    : name_(framework + " " + mode), threads_(threads) {
  std::signal(SIGPIPE, SIG_IGN);
  std::array<int, 2> to{}, from{};
  bg::require(::pipe2(to.data(), O_CLOEXEC) == 0 && ::pipe2(from.data(), O_CLOEXEC) == 0,
              "cannot make a pipe: ", std::strerror(errno));
  const std::string number = std::to_string(threads);
  process_ = ::fork();
  bg::require(process_ >= 0, "cannot start ", python, ": ", std::strerror(errno));
  if (process_ == 0) {
    ::dup2(to[0], STDIN_FILENO);
    ::dup2(from[1], STDOUT_FILENO);
    ::execl(python.c_str(), python.c_str(), "-B", BG_SOURCE_DIR "/bench/peers/worker.py",
            framework.c_str(), mode.c_str(), number.c_str(), nullptr);
    ::_exit(127);
  }
  ::close(to[0]);
  ::close(from[1]);
  requests_ = ::fdopen(to[1], "w");
  answers_ = ::fdopen(from[0], "r");
}

PeerProcess::~PeerProcess() {
  std::fclose(requests_);  // the worker ends with its input
  std::fclose(answers_);
  ::waitpid(process_, nullptr, 0);
}

void PeerProcess::ask(const nlohmann::json& request) {
  std::fprintf(requests_, "%s\n", request.dump().c_str());
  std::fflush(requests_);
}

nlohmann::json PeerProcess::answer() {
  char* line = nullptr;
  std::size_t size = 0;
  const bool is_there = ::getline(&line, &size, answers_) > 0;
  const std::string text = is_there ? line : "";
  std::free(line);
  bg::require(is_there, name_, " ended without an answer");
  nlohmann::json reply = nlohmann::json::parse(text);
  bg::require(!reply.contains("error"), name_, ": ", reply.value("error", std::string()));
  return reply;
}

std::string PeerProcess::version() { return answer()["version"]; }

void PeerProcess::load(const std::string& path) { ask({{"load", path}, {"train", loss_steps}}); }

double PeerProcess::loss() { return answer()["loss"]; }

double PeerProcess::seconds(std::int64_t steps) {
  ask({{"steps", steps}});
  return answer()["seconds"];
}

}  // namespace bench
