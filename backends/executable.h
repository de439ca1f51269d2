#pragma once
// What a backend makes of a plan: something that can run steps.

#include <functional>
#include <memory>
#include <span>

#include "blockgrad/backends/program.h"
#include "graph/plan.h"

namespace blockgrad {

/// Memory of every feed for every step of the ring: pointers[ring * feeds + feed].
struct FeedRing {
  std::span<const std::byte* const> pointers;
  std::int64_t feeds = 0;
  std::int64_t rings = 1;

  /// Those of one step.
  std::span<const std::byte* const> of(std::int64_t ring) const {
    return pointers.subspan(static_cast<std::size_t>(ring * feeds),
                            static_cast<std::size_t>(feeds));
  }
};

/// Asked when the step-th step of a run made a value that is not finite, before anything is
/// updated. Throws Error naming the node; returns where such values are meant to be.
using Examine = std::function<void(std::span<const std::byte* const> feeds, std::int64_t step)>;

class Executable {
 public:
  virtual ~Executable() = default;
  /// Runs up to n steps and returns how many; allocates nothing. Throws Error, with the step's
  /// number, if a step finds its data wrong; that step has updated nothing.
  virtual std::int64_t run(std::int64_t n, const FeedRing& feeds, const StopToken* stop) = 0;
  /// With check_numerics every step is watched, and `examine` is asked.
  virtual void on_bad_value(Examine examine) = 0;
  /// Runs one step node by node without its updates. Throws Error naming the first node that made
  /// a NaN or infinity of finite values; or, if there is none but an output or new value is not
  /// finite, the leaf it came from. `feeds` are those of one step.
  virtual void examine(std::span<const std::byte* const> feeds, std::int64_t step) = 0;
  /// Runs one step so often with a clock around every kernel; fills times and roofs of the nodes.
  virtual void profile(std::span<const std::byte* const> feeds, int runs, Report& report) = 0;
  /// An output of the last step.
  virtual const std::byte* output(int i) const = 0;
  /// Fills the backend's part of the report.
  virtual void describe(Report& report) const = 0;
};

}  // namespace blockgrad
