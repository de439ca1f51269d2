#include "ladder/peers.h"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <exception>
#include <utility>

namespace bench {

namespace {

constexpr std::array<std::pair<const char*, const char*>, 4> kinds{{
    {"torch", "eager"},
    {"torch", "compile"},
    {"jax", "jit"},
    {"jax", "scan"},
}};

}  // namespace

Peers::Peers(const std::string& python, std::span<const int> threads) {
  if (::access(python.c_str(), X_OK) != 0) {
    std::fprintf(stderr, "no peers: there is no %s; ./run peers installs them\n", python.c_str());
    return;
  }
  // All start, and later load, at once: they take seconds to import and to compile.
  std::vector<std::unique_ptr<PeerProcess>> started;
  for (const auto& [framework, mode] : kinds) {
    for (const int count : threads) {
      started.push_back(std::make_unique<PeerProcess>(python, framework, mode, count));
    }
  }
  for (std::unique_ptr<PeerProcess>& process : started) {
    try {
      const std::string framework = process->name().substr(0, process->name().find(' '));
      versions_[framework] = process->version();
      processes_.push_back(std::move(process));
    } catch (const std::exception& error) {
      std::fprintf(stderr, "left out: %s\n", error.what());
    }
  }
}

std::vector<Contestant> Peers::contestants(const std::string& model_file) {
  std::vector<Contestant> contestants;
  for (const std::unique_ptr<PeerProcess>& process : processes_) process->load(model_file);
  for (const std::unique_ptr<PeerProcess>& process : processes_) {
    try {
      const double loss = process->loss();
      contestants.push_back({process->name(), process->threads(),
                             [p = process.get()](std::int64_t steps) { return p->seconds(steps); },
                             process->process(), loss});
    } catch (const std::exception& error) {
      std::fprintf(stderr, "  left out: %s\n", error.what());
    }
  }
  return contestants;
}

}  // namespace bench
