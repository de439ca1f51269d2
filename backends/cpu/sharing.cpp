#include "backends/cpu/sharing.h"

#include <algorithm>
#include <limits>

namespace blockgrad {

namespace {

// Nanoseconds, but for the counts and the ratio.
constexpr double short_step = 200e3;  // longer ones are shared
constexpr int fewest_steps = 4;
constexpr double shortest_trial = 200e3;  // a worker has time to wake up
constexpr double gain = 0.95;             // of the time before, to be worth a change
constexpr double first_rest = 1e6, longest_rest = 200e6;

}  // namespace

void Sharing::took(double nanoseconds) {
  ++steps_;
  elapsed_ += nanoseconds;
  if (steps_ > 1) best_ = std::min(best_, nanoseconds);  // the first one moves data
  if (phase_ == Phase::rest) {
    if (elapsed_ >= rest_) enter(Phase::measure);
    return;
  }
  if (steps_ < fewest_steps || elapsed_ < shortest_trial) return;
  if (phase_ == Phase::trial) return decide();
  if (is_on_ && best_ > short_step) {
    rest_ = longest_rest;
    return enter(Phase::rest);
  }
  measured_ = best_;
  is_on_ = !is_on_;
  enter(Phase::trial);
}

void Sharing::decide() {
  const bool is_faster = best_ < gain * measured_;
  if (!is_faster) is_on_ = !is_on_;
  rest_ = is_faster ? first_rest : std::min(2 * rest_, longest_rest);
  enter(Phase::rest);
}

void Sharing::enter(Phase phase) {
  phase_ = phase;
  steps_ = 0;
  elapsed_ = 0;
  best_ = std::numeric_limits<double>::infinity();
}

}  // namespace blockgrad
