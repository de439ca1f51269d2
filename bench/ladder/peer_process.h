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

struct PeerCommand {
  std::string python;
  std::string framework, mode;  // "torch", "compile"
  int threads = 1;
  std::string device = "cpu", math = "exact";  // "cuda"; "tf32", "bf16"
  std::string log;                             // file that gets what it prints
  std::string worker = BG_SOURCE_DIR "/bench/peers/worker.py";

  std::string name() const { return framework + " " + mode; }
};

class PeerProcess {
 public:
  /// Starts it, and does not wait. It ends with this process, and an interrupt from the terminal is
  /// not for it. Throws Error if no process can be started.
  explicit PeerProcess(PeerCommand command);
  ~PeerProcess();
  PeerProcess(const PeerProcess&) = delete;
  PeerProcess& operator=(const PeerProcess&) = delete;

  const PeerCommand& command() const { return command_; }
  pid_t process() const { return process_; }
  /// False once it did not answer, or not in time: it is then killed.
  bool is_alive() const { return is_alive_; }
  /// Its version, once it is there. Throws Error that says why it is missing.
  const std::string& version(double patience);

  /// Asks it to make the model in this file, as `write_model` wrote it, and to train it loss_steps
  /// steps; `loss` waits for the loss then, for so many seconds. Throws Error with what it says.
  void load(const std::string& path);
  double loss(double patience);
  /// Trains the model on: seconds of so many steps.
  double seconds(std::int64_t steps, double patience);

 private:
  void ask(const nlohmann::json& request);
  nlohmann::json answer(double patience);
  void stop();

  PeerCommand command_;
  std::string version_;
  pid_t process_ = -1;
  bool is_alive_ = true;
  std::FILE* requests_ = nullptr;
  std::FILE* answers_ = nullptr;
};

}  // namespace bench
