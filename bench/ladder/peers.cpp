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
  for (const auto& [framework, mode] : kinds) {
    for (const int count : threads) {
      auto process = std::make_unique<PeerProcess>(python, framework, mode, count);
      if (process->why_missing().empty()) {
        processes_.push_back(std::move(process));
      } else {
        std::fprintf(stderr, "%s on %d: %s\n", process->name().c_str(), count,
                     process->why_missing().c_str());
      }
    }
  }
}

std::vector<Contestant> Peers::contestants(const std::string& model_file) {
  std::vector<Contestant> contestants;
  for (const std::unique_ptr<PeerProcess>& process : processes_) {
    std::fprintf(stderr, "  %s on %d\n", process->name().c_str(), process->threads());
    try {
      const double loss = process->load(model_file);
      contestants.push_back({process->name(), process->threads(),
                             [p = process.get()](std::int64_t steps) { return p->seconds(steps); },
                             loss});
    } catch (const std::exception& error) {
      std::fprintf(stderr, "  left out: %s\n", error.what());
    }
  }
  return contestants;
}

nlohmann::json Peers::versions() const {
  nlohmann::json versions = nlohmann::json::object();
  for (const std::unique_ptr<PeerProcess>& process : processes_) {
    versions[process->name().substr(0, process->name().find(' '))] = process->version();
  }
  return versions;
}

}  // namespace bench
