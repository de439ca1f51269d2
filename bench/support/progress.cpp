#include "support/progress.h"

#include <array>
#include <cmath>
#include <cstdio>

namespace bench {

std::string clock_text(double seconds) {
  const long whole = std::lround(seconds);
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%ld:%02ld", whole / 60, whole % 60);
  return text.data();
}

Progress::Progress(int parts) : parts_(parts) {}

void Progress::next(const std::string& name) {
  const double passed =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  std::string when;
  if (begun_ > 0) {
    const double to_go = passed / begun_ * (parts_ - begun_);
    when = " (" + clock_text(passed) + " so far, about " + clock_text(to_go) + " to go)";
  }
  ++begun_;
  std::fprintf(stderr, "[%d/%d] %s%s\n", begun_, parts_, name.c_str(), when.c_str());
}

void Progress::note(const std::string& text) { std::fprintf(stderr, "  %s\n", text.c_str()); }

}  // namespace bench
