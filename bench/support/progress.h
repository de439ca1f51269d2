#pragma once
// Where a long run is, on standard error: "[3/9] lenet (1:05 so far, about 2:10 to go)".

#include <chrono>
#include <string>

namespace bench {

/// Minutes and seconds: "2:05".
std::string clock_text(double seconds);

class Progress {
 public:
  /// Parts are taken to be equally long, so what is to go is a guess.
  explicit Progress(int parts);
  /// Says that the next part begins.
  void next(const std::string& name);
  /// A line below the part that runs.
  static void note(const std::string& text);

 private:
  int parts_, begun_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace bench
