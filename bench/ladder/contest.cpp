#include "ladder/contest.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace bench {

namespace {

// So many steps that they take that long.
std::int64_t steps_for(const Contestant& contestant, double seconds) {
  constexpr std::int64_t most = std::int64_t{1} << 30;
  std::int64_t steps = 1;
  double once = contestant.seconds(1);
  while (once < seconds / 4 && steps < most) {
    steps *= 2;
    once = contestant.seconds(steps);
  }
  const double needed = std::ceil(static_cast<double>(steps) * seconds / once);
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(needed));
}

}  // namespace

Contest measure(const std::vector<Contestant>& contestants, double streamed,
                const ContestOptions& options) {
  const std::size_t count = contestants.size();
  std::vector<std::int64_t> steps;
  std::map<int, std::vector<double>> flops, bytes;
  for (const Contestant& contestant : contestants) {
    steps.push_back(steps_for(contestant, options.milliseconds / 1000));
    flops[contestant.threads];
  }
  std::vector<std::vector<double>> seconds(count);
  for (int i = 0; i < options.repetitions; ++i) {
    for (auto& [threads, rates] : flops) {
      rates.push_back(peak_flops(threads));
      bytes[threads].push_back(triad_bytes(threads, streamed));
    }
    for (std::size_t k = 0; k < count; ++k) {
      const std::size_t c = i % 2 == 0 ? k : count - 1 - k;
      contestants[c].seconds(1);  // its memory comes back into the caches
      seconds[c].push_back(contestants[c].seconds(steps[c]) / static_cast<double>(steps[c]));
    }
  }
  Contest contest;
  for (std::size_t c = 0; c < count; ++c) {
    contest.measured.push_back({spread_of(seconds[c]), steps[c]});
  }
  for (const auto& [threads, rates] : flops) {
    contest.roofs[threads] = {spread_of(rates).median, spread_of(bytes[threads]).median};
  }
  return contest;
}

}  // namespace bench
