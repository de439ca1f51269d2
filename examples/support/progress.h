#pragma once
// ProgressLine: a bar that moves on a terminal; in a file or pipe a line every few seconds.

#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>

namespace examples {

class ProgressLine {
 public:
  explicit ProgressLine(std::string label, std::FILE* out = stderr);
  /// Wipes the bar.
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// `fraction` of the work is done, 0 to 1; `note` follows the bar.
  void show(double fraction, std::string_view note);

 private:
  using Clock = std::chrono::steady_clock;

  std::string label_;
  std::FILE* out_;
  bool is_terminal_;
  Clock::time_point last_line_ = Clock::now();
};

}  // namespace examples
