#pragma once
// Another framework at one number of threads: a Python process that stays and answers line by line
// (bench/peers/worker.py says how).

#include <sys/types.h>

#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "ladder/contest.h"

namespace bench {

class PeerProcess {
 public:
  /// Starts it; `why_missing` tells then whether it is there. Throws Error if no process can be
  /// started.
  PeerProcess(const std::string& python, const std::string& framework, const std::string& mode,
              int threads);
  ~PeerProcess();
  PeerProcess(const PeerProcess&) = delete;
  PeerProcess& operator=(const PeerProcess&) = delete;

  const std::string& name() const { return name_; }
  int threads() const { return threads_; }
  const std::string& version() const { return version_; }
  /// "" if it is there.
  const std::string& why_missing() const { return why_missing_; }

  /// Makes the model in this file, as `write_model` wrote it, and trains it loss_steps steps: the
  /// loss then. Throws Error with what it says.
  double load(const std::string& path);
  /// Trains the model on: seconds of so many steps.
  double seconds(std::int64_t steps);

 private:
  nlohmann::json ask(const nlohmann::json& request);
  nlohmann::json answer();

  std::string name_, version_, why_missing_;
  int threads_;
  pid_t process_ = -1;
  std::FILE* requests_ = nullptr;
  std::FILE* answers_ = nullptr;
};

}  // namespace bench
