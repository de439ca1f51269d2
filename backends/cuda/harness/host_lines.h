#pragma once
// The two lines of calls of a CudaRuntime on the CPU. Calls wait, and are done in an order drawn
// from a seed that keeps that of each line and what marks hold back: now early, now as late as
// something waits for them. A mark that is missing so shows in what comes out. Not thread-safe.

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <random>

#include "backends/cuda/cuda_runtime.h"

namespace blockgrad::harness {

class HostLines {
 public:
  explicit HostLines(std::uint64_t seed) : random_(seed) {}

  /// Calls for work are done at once while no copy is on its way.
  void give(CudaLine line, std::function<void()> call);
  /// Whether the next call for work would be done at once.
  bool are_idle() const {
    return of(CudaLine::work).calls.empty() && of(CudaLine::ahead).calls.empty();
  }
  /// How many calls the line has been given.
  std::int64_t given(CudaLine line) const { return of(line).given; }
  /// The line goes on when `other` has done so many calls.
  void hold(CudaLine line, CudaLine other, std::int64_t calls);
  /// Does at least so many calls of the line. If one throws, those that wait are forgotten.
  void finish(CudaLine line, std::int64_t calls);
  void finish();

 private:
  struct Call {
    std::function<void()> run;
    CudaLine other = CudaLine::work;
    std::int64_t after = 0;  // calls of the other line
  };
  struct Line {
    std::deque<Call> calls;
    std::int64_t given = 0, done = 0;
  };

  Line& of(CudaLine line) { return lines_[static_cast<std::size_t>(line)]; }
  const Line& of(CudaLine line) const { return lines_[static_cast<std::size_t>(line)]; }
  bool can_go_on(CudaLine line) const;
  void do_next(CudaLine line);
  void do_some();

  std::array<Line, 2> lines_;
  std::mt19937_64 random_;
};

}  // namespace blockgrad::harness
