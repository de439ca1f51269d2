#include "ladder/peers.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <exception>
#include <utility>

#include "support/progress.h"

namespace bench {

namespace {

struct Kind {
  const char *framework, *mode;
  bool needs_gpu = false;
};
constexpr std::array kinds{
    Kind{"torch", "eager"},        Kind{"torch", "compile"}, Kind{"torch", "reduce-overhead", true},
    Kind{"torch", "graphs", true}, Kind{"jax", "jit"},       Kind{"jax", "scan"}};

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

LeftOut left_out_of(const PeerCommand& command, const std::string& why) {
  Progress::note("left out: " + command.name() + " on " + std::to_string(command.threads) + ": " +
                 why);
  return {command.name(), command.threads, why};
}

std::vector<PeerCommand> commands_of(const PeersOptions& options) {
  std::vector<PeerCommand> commands;
  for (const Kind& kind : kinds) {
    for (const int threads : options.threads) {
      if (kind.needs_gpu && options.device == "cpu") continue;
      PeerCommand command{options.python, kind.framework, kind.mode,   threads,
                          options.device, options.math,   options.log, options.worker};
      const bool is_asked = options.names.empty() ||
                            std::find(options.names.begin(), options.names.end(), command.name()) !=
                                options.names.end();
      if (is_asked) commands.push_back(std::move(command));
    }
  }
  return commands;
}

}  // namespace

std::vector<std::string> peer_names() {
  std::vector<std::string> names;
  for (const Kind& kind : kinds) names.push_back(std::string(kind.framework) + " " + kind.mode);
  return names;
}

Peers::Peers(PeersOptions options) : options_(std::move(options)) {
  const std::vector<PeerCommand> commands = commands_of(options_);
  if (::access(options_.python.c_str(), X_OK) != 0) {
    std::fprintf(stderr, "no peers: there is no %s; ./run peers installs them\n",
                 options_.python.c_str());
    for (const PeerCommand& command : commands) {
      missing_.push_back({command.name(), command.threads, "not installed"});
    }
    return;
  }
  // All start, and later load, at once: they take seconds to import and to compile.
  std::vector<std::unique_ptr<PeerProcess>> started;
  for (const PeerCommand& command : commands) {
    started.push_back(std::make_unique<PeerProcess>(command));
  }
  const double deadline = now() + options_.patience;
  for (std::unique_ptr<PeerProcess>& process : started) {
    try {
      versions_[process->command().framework] = process->version(std::max(0.0, deadline - now()));
      processes_.push_back(std::move(process));
    } catch (const std::exception& error) {
      missing_.push_back(left_out_of(process->command(), error.what()));
    }
  }
}

std::vector<Contestant> Peers::contestants(const std::string& model_file) {
  std::vector<Contestant> contestants;
  left_out_ = missing_;
  for (std::unique_ptr<PeerProcess>& process : processes_) {
    if (!process->is_alive()) process = std::make_unique<PeerProcess>(process->command());
    process->load(model_file);
  }
  const double deadline = now() + options_.patience;
  for (const std::unique_ptr<PeerProcess>& process : processes_) {
    try {
      const double loss = process->loss(std::max(0.0, deadline - now()));
      const auto seconds = [p = process.get(), patience = options_.patience](std::int64_t steps) {
        return p->seconds(steps, patience);
      };
      contestants.push_back({process->command().name(), process->command().threads, seconds,
                             process->process(), loss});
    } catch (const std::exception& error) {
      const bool is_late = !process->is_alive() && now() >= deadline;
      left_out_.push_back(left_out_of(
          process->command(),
          is_late ? "not ready " + clock_text(options_.patience) + " min after all peers began"
                  : error.what()));
    }
  }
  return contestants;
}

}  // namespace bench
