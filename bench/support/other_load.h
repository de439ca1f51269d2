#pragma once
// How much of the processors others use meanwhile.

#include <sys/types.h>

#include <chrono>
#include <vector>

namespace bench {

/// The system counts in hundredths of a second: in less, what others use cannot be told.
inline constexpr double least_load_seconds = 0.5;

class OtherLoad {
 public:
  /// Others are all but this process and those named.
  explicit OtherLoad(std::vector<pid_t> ours);

  /// Processors that others kept busy since the last call, on average; 0 where it cannot be told.
  /// Of intervals of least_load_seconds or more.
  double since_last();
  /// Seconds since then.
  double seconds() const;

 private:
  struct Seconds {
    double all = 0, ours = 0;
  };
  Seconds now() const;

  std::vector<pid_t> ours_;
  Seconds last_;
  std::chrono::steady_clock::time_point time_;
};

}  // namespace bench
