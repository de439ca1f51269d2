#pragma once
// Those who train one and the same model, and the measurement of all of them in turns, so that the
// machine's moods meet everybody.

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "support/roof.h"
#include "support/timing.h"

namespace bench {

struct Contestant {
  std::string name;  // "blockgrad", "torch compile"
  int threads = 1;
  std::function<double(std::int64_t)> seconds;  // of so many steps; what it trains goes on
  pid_t process = 0;                            // 0: this one
  double loss = 0;                              // after loss_steps steps from the first values
};

constexpr std::int64_t loss_steps = 20;

struct Measured {
  Spread seconds;          // of one step
  std::int64_t steps = 0;  // in each repetition
  int repetitions = 0;
};

struct Contest {
  std::vector<Measured> measured;  // one for each contestant
  std::map<int, Roof> roofs;       // by number of threads: medians over the repetitions
  int disturbed = 0;               // repetitions left out
};

struct ContestOptions {
  int repetitions = 15;
  double milliseconds = 20;  // of each repetition at least
  double others = 0.1;       // processors that others may use in a repetition
};

/// In each repetition everybody runs once, in an order that is turned around every time, next to
/// a measurement of what the machine can do with each number of threads. Who is far behind the
/// fastest, and slow, runs three times only. A repetition in which others used the machine is made
/// again, up to twice as often as asked for; if that is in vain, it counts.
/// `streamed` are the bytes of the memory that a step goes through, for the triad.
Contest measure(const std::vector<Contestant>& contestants, double streamed,
                const ContestOptions& options);

}  // namespace bench
