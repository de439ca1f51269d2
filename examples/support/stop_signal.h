#pragma once
// Ctrl-C asks a StopToken to end the work in order.

#include "blockgrad/backends/program.h"

namespace examples {

/// While it lives, the first SIGINT asks `stop`; a second one ends the program at once. One at a
/// time.
class StopOnInterrupt {
 public:
  explicit StopOnInterrupt(blockgrad::StopToken& stop);
  ~StopOnInterrupt();
  StopOnInterrupt(const StopOnInterrupt&) = delete;
  StopOnInterrupt& operator=(const StopOnInterrupt&) = delete;
};

/// What a program returns that was ended by Ctrl-C: 128 + SIGINT.
inline constexpr int interrupted_exit_code = 130;

}  // namespace examples
