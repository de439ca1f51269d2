#pragma once
// Calls a program of the project as its users do and keeps what it says.

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace example_test {

struct Answer {
  int exit_code = -1;  // 128 + signal if one ended it
  std::string out, err;
};

struct CallOptions {
  std::optional<std::string> path = {};  // PATH of the call
  std::string interrupt_after = {};      // SIGINT once standard output holds this text,
  int interrupt_delay = 200;             // and so many milliseconds have passed
};

/// Runs an example by name and waits for it, at most two minutes.
Answer call(const std::string& example, const std::vector<std::string>& arguments,
            const CallOptions& options = {});

}  // namespace example_test
