#include "ladder/contest.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <limits>
#include <thread>

#include "support/other_load.h"

namespace bench {

namespace {

struct Pace {
  std::int64_t steps = 1;  // of a repetition
  double once = 0;         // seconds of a step, about
};

// So many steps that they take that long.
Pace pace_of(const Contestant& contestant, double seconds) {
  constexpr std::int64_t most = std::int64_t{1} << 30;
  std::int64_t steps = 1;
  double time = contestant.seconds(1);
  while (time < seconds / 4 && steps < most) {
    steps *= 2;
    time = contestant.seconds(steps);
  }
  const double once = time / static_cast<double>(steps);
  return {std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(seconds / once))), once};
}

// Threads of the last one that still wait in a loop for more work would disturb the next.
void let_others_sleep() { std::this_thread::sleep_for(std::chrono::milliseconds(15)); }

}  // namespace

Contest measure(const std::vector<Contestant>& contestants, double streamed,
                const ContestOptions& options) {
  constexpr int few = 3;
  const std::size_t count = contestants.size();
  std::vector<Pace> paces;
  std::map<int, std::vector<double>> flops, bytes;
  double fastest = std::numeric_limits<double>::infinity();
  for (const Contestant& contestant : contestants) {
    paces.push_back(pace_of(contestant, options.milliseconds / 1000));
    fastest = std::min(fastest, paces.back().once);
    flops[contestant.threads];
  }
  std::vector<pid_t> processes;
  for (const Contestant& contestant : contestants) {
    if (contestant.process) processes.push_back(contestant.process);
  }
  Contest contest;
  OtherLoad load(processes);
  std::vector<std::vector<double>> seconds(count);
  for (int i = 0; i < options.repetitions;) {
    std::vector<double> times(count);
    std::map<int, Roof> roofs;
    for (const auto& [threads, rates] : flops) {
      roofs[threads] = {peak_flops(threads), triad_bytes(threads, streamed)};
    }
    for (std::size_t k = 0; k < count; ++k) {
      const std::size_t c = i % 2 == 0 ? k : count - 1 - k;
      const auto [steps, once] = paces[c];
      const bool is_far_behind = once > 4 * fastest && once > 0.05;
      if (is_far_behind && i >= few) continue;
      let_others_sleep();
      if (!is_far_behind) contestants[c].seconds(1);  // its memory comes back into the caches
      times[c] = contestants[c].seconds(steps) / static_cast<double>(steps);
    }
    if (load.since_last() > options.others && contest.disturbed < 2 * options.repetitions) {
      ++contest.disturbed;
      continue;
    }
    for (std::size_t c = 0; c < count; ++c) {
      if (times[c] > 0) seconds[c].push_back(times[c]);
    }
    for (const auto& [threads, roof] : roofs) {
      flops[threads].push_back(roof.flops);
      bytes[threads].push_back(roof.bytes);
    }
    ++i;
  }
  for (std::size_t c = 0; c < count; ++c) {
    contest.measured.push_back(
        {spread_of(seconds[c]), paces[c].steps, static_cast<int>(seconds[c].size())});
  }
  for (const auto& [threads, rates] : flops) {
    contest.roofs[threads] = {spread_of(rates).median, spread_of(bytes[threads]).median};
  }
  return contest;
}

}  // namespace bench
