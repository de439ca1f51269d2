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
  std::vector<double> turns = {};  // of one step in each repetition; 0: it did not run
  std::string failure = {};        // why a process did not get to the end; the rest is then empty
};

struct Contest {
  std::vector<Measured> measured;  // one for each contestant
  std::map<int, Roof> roofs;       // by number of threads: medians over the repetitions
  int made_again = 0;              // repetitions in which others used the machine, left out
  int disturbed = 0;               // those that count all the same
};

struct ContestOptions {
  int repetitions = 15;
  double milliseconds = 20;                 // of each repetition at least
  double others = 0.1;                      // processors that others may use
  std::function<void(double)> begins = {};  // told about how many seconds it will take
  std::function<Roof(int threads, double bytes)> roof = measure_roof;
};

/// In each repetition everybody runs once, in an order that is turned around every time, next to
/// a measurement of what the machine can do with each number of threads. Who is far behind the
/// fastest, and slow, runs three times only. Repetitions in which others used the machine are made
/// again, as often as asked for; if that is in vain, they count and `disturbed` tells of them.
/// A process that fails is left out; what this process throws goes on to the caller.
/// `streamed` are the bytes of the memory that a step goes through, for the triad.
Contest measure(const std::vector<Contestant>& contestants, double streamed,
                const ContestOptions& options);

}  // namespace bench
