#pragma once
// Whether a program whose steps are short shares them among threads. What one thread wrote and
// another reads has to cross the machine, and how long that takes no shape tells: it differs
// fivefold from one moment to the next where a hypervisor moves processors about. So both ways are
// timed now and then, and the faster one is kept, unless the environment's BLOCKGRAD_SHARING is
// "always". Results are equal bit for bit either way.

namespace blockgrad {

class Sharing {
 public:
  /// What the next step is to do.
  bool is_on() const { return is_on_; }
  /// How long a step took, from the end of the one before if there was one.
  void took(double nanoseconds);

 private:
  enum class Phase : char { rest, measure, trial };
  void enter(Phase phase);
  void decide();

  bool is_on_ = true;
  Phase phase_ = Phase::rest;
  int steps_ = 0;        // of this phase
  double elapsed_ = 0;   // nanoseconds of this phase
  double best_ = 0;      // of this phase, but for the first step
  double measured_ = 0;  // the best before the trial
  double rest_ = 1e6;    // nanoseconds
};

}  // namespace blockgrad
