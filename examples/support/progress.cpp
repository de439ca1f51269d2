#include "support/progress.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

namespace examples {

namespace {

constexpr int bar_width = 30;
constexpr std::chrono::seconds between_lines(5);

}  // namespace

ProgressLine::ProgressLine(std::string label, std::FILE* out)
    : label_(std::move(label)), out_(out), is_terminal_(::isatty(::fileno(out)) == 1) {}

ProgressLine::~ProgressLine() {
  if (!is_terminal_) return;
  std::fputs("\r\033[K", out_);
  std::fflush(out_);
}

void ProgressLine::show(double fraction, std::string_view note) {
  const double part = std::clamp(fraction, 0.0, 1.0);
  const int percent = static_cast<int>(100 * part);
  const int length = static_cast<int>(note.size());
  if (is_terminal_) {
    const int full = static_cast<int>(bar_width * part);
    const std::string bar = std::string(static_cast<std::size_t>(full), '#') +
                            std::string(static_cast<std::size_t>(bar_width - full), '.');
    std::fprintf(out_, "\r%-12s [%s] %3d %%  %.*s\033[K", label_.c_str(), bar.c_str(), percent,
                 length, note.data());
    std::fflush(out_);
    return;
  }
  const Clock::time_point now = Clock::now();
  if (now - last_line_ < between_lines) return;
  last_line_ = now;
  std::fprintf(out_, "%s: %d %%, %.*s\n", label_.c_str(), percent, length, note.data());
  std::fflush(out_);
}

}  // namespace examples
