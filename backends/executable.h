#pragma once
// What a backend makes of a plan: something that can run steps.

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
};

class Executable {
 public:
  virtual ~Executable() = default;
  /// Runs up to n steps and returns how many; allocates nothing. Throws Error, with the step's
  /// number, if a step finds its data wrong; that step has updated nothing.
  virtual std::int64_t run(std::int64_t n, const FeedRing& feeds, const StopToken* stop) = 0;
  /// An output of the last step.
  virtual const std::byte* output(int i) const = 0;
  /// Fills the backend's part of the report.
  virtual void describe(Report& report) const = 0;
};

std::unique_ptr<Executable> make_cpu_executable(const Graph& graph, const Plan& plan,
                                                const CompileOptions& options);

}  // namespace blockgrad
