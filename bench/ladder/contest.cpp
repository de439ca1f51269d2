#include "ladder/contest.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <exception>
#include <limits>
#include <thread>

#include "support/other_load.h"

namespace bench {

namespace {

// Threads of the last one that still wait in a loop for more work would disturb the next.
constexpr double pause = 0.015;
// Who is far behind runs so often.
constexpr int few = 3;

struct Pace {
  std::int64_t steps = 1;  // of a repetition
  double once = 0;         // seconds of a step, about
};

/// One repetition: seconds of a step of each, 0 of who did not run, and the roofs of the moment.
struct Turn {
  std::vector<double> seconds;
  std::map<int, Roof> roofs;
};

class Measurement {
 public:
  Measurement(const std::vector<Contestant>& contestants, double streamed,
              const ContestOptions& options)
      : contestants_(contestants), streamed_(streamed), options_(options) {
    contest_.measured.resize(contestants.size());
  }

  Contest run() {
    for (std::size_t c = 0; c < contestants_.size(); ++c) {
      paces_.push_back(pace_of(c));
      if (paces_.back().once > 0) fastest_ = std::min(fastest_, paces_.back().once);
    }
    if (options_.begins) options_.begins(expected_seconds());
    take_turns();
    summarise();
    return std::move(contest_);
  }

 private:
  // Seconds of so many steps; 0 from its first failure on.
  double seconds(std::size_t c, std::int64_t steps) {
    std::string& failure = contest_.measured[c].failure;
    if (!failure.empty()) return 0;
    if (contestants_[c].process == 0) return contestants_[c].seconds(steps);
    try {
      return contestants_[c].seconds(steps);
    } catch (const std::exception& error) {
      failure = error.what();
      return 0;
    }
  }

  // So many steps that they take as long as is asked for.
  Pace pace_of(std::size_t c) {
    constexpr std::int64_t most = std::int64_t{1} << 30;
    const double least = options_.milliseconds / 1000;
    std::int64_t steps = 1;
    double time = seconds(c, 1);
    while (time > 0 && time < least / 4 && steps < most) {
      steps *= 2;
      time = seconds(c, steps);
    }
    const double once = time / static_cast<double>(steps);
    if (!(once > 0)) return {};
    return {std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(least / once))), once};
  }

  bool is_far_behind(std::size_t c) const {
    return paces_[c].once > 4 * fastest_ && paces_[c].once > 0.05;
  }

  double expected_seconds() const {
    double sum = 0;
    for (std::size_t c = 0; c < paces_.size(); ++c) {
      const double once = pause + paces_[c].once * static_cast<double>(paces_[c].steps + 1);
      sum += once * (is_far_behind(c) ? std::min(few, options_.repetitions) : options_.repetitions);
    }
    return sum;
  }

  Turn turn(int number) {
    Turn turn;
    const std::size_t count = contestants_.size();
    turn.seconds.resize(count);
    for (const Contestant& c : contestants_) {
      if (turn.roofs.contains(c.threads)) continue;
      turn.roofs[c.threads] = options_.roof(c.threads, streamed_);
    }
    for (std::size_t k = 0; k < count; ++k) {
      const std::size_t c = number % 2 == 0 ? k : count - 1 - k;
      if (is_far_behind(c) && number >= few) continue;
      std::this_thread::sleep_for(std::chrono::duration<double>(pause));
      if (!is_far_behind(c)) seconds(c, 1);  // its memory comes back into the caches
      const std::int64_t steps = paces_[c].steps;
      turn.seconds[c] = seconds(c, steps) / static_cast<double>(steps);
    }
    return turn;
  }

  // Turns are judged together once they are long enough for the load of others to be told.
  void take_turns() {
    std::vector<pid_t> processes;
    for (const Contestant& c : contestants_) {
      if (c.process) processes.push_back(c.process);
    }
    OtherLoad load(processes);
    const auto wanted = static_cast<std::size_t>(options_.repetitions);
    std::vector<Turn> open;
    while (turns_.size() < wanted) {
      open.push_back(turn(static_cast<int>(turns_.size() + open.size())));
      const bool is_last = turns_.size() + open.size() == wanted;
      if (load.seconds() < least_load_seconds && !is_last) continue;
      const bool is_disturbed = load.since_last() > options_.others;
      if (is_disturbed && contest_.made_again < options_.repetitions) {
        contest_.made_again += static_cast<int>(open.size());
      } else {
        if (is_disturbed) contest_.disturbed += static_cast<int>(open.size());
        turns_.insert(turns_.end(), open.begin(), open.end());
      }
      open.clear();
    }
  }

  void summarise() {
    for (std::size_t c = 0; c < contestants_.size(); ++c) {
      Measured& measured = contest_.measured[c];
      if (!measured.failure.empty()) continue;
      std::vector<double> seconds;
      for (const Turn& turn : turns_) {
        measured.turns.push_back(turn.seconds[c]);
        if (turn.seconds[c] > 0) seconds.push_back(turn.seconds[c]);
      }
      measured.seconds = spread_of(seconds);
      measured.steps = paces_[c].steps;
      measured.repetitions = static_cast<int>(seconds.size());
    }
    for (const auto& [threads, first] : turns_.front().roofs) {
      std::vector<double> flops, bytes;
      for (const Turn& turn : turns_) {
        flops.push_back(turn.roofs.at(threads).flops);
        bytes.push_back(turn.roofs.at(threads).bytes);
      }
      contest_.roofs[threads] = {spread_of(flops).median, spread_of(bytes).median};
    }
  }

  const std::vector<Contestant>& contestants_;
  double streamed_;
  const ContestOptions& options_;
  double fastest_ = std::numeric_limits<double>::infinity();
  std::vector<Pace> paces_;
  std::vector<Turn> turns_;
  Contest contest_;
};

}  // namespace

Contest measure(const std::vector<Contestant>& contestants, double streamed,
                const ContestOptions& options) {
  return Measurement(contestants, streamed, options).run();
}

}  // namespace bench
