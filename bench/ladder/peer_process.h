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
  /// Starts it, and does not wait. Throws Error if no process can be started.
  PeerProcess(const std::string& python, const std::string& framework, const std::string& mode,
              int threads);
  ~PeerProcess();
  PeerProcess(const PeerProcess&) = delete;
  PeerProcess& operator=(const PeerProcess&) = delete;

  const std::string& name() const { return name_; }
  int threads() const { return threads_; }
  pid_t process() const { return process_; }
  /// Its version, once it is there. Throws Error that says why it is missing.
  std::string version();

  /// Asks it to make the model in this file, as `write_model` wrote it, and to train it loss_steps
  /// steps; `loss` waits for the loss then. Both throw Error with what it says.
  void load(const std::string& path);
  double loss();
  /// Trains the model on: seconds of so many steps.
  double seconds(std::int64_t steps);

 private:
  void ask(const nlohmann::json& request);
  nlohmann::json answer();

  std::string name_;
  int threads_;
  pid_t process_ = -1;
  std::FILE* requests_ = nullptr;
  std::FILE* answers_ = nullptr;
};

}  // namespace bench
