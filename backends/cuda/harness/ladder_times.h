#pragma once
// How long each rung of the ladder takes on a GPU.

#include <string_view>
#include <vector>

namespace blockgrad::harness {

struct LadderSize;  // ladder.h

struct RungTime {
  std::string_view name;
  double milliseconds = 0;   // median of the repetitions
  double teraflops = 0;      // 2 m n k per second
  double largest_error = 0;  // in parts of the largest element; NaN where an element is none
  double bound = 0;          // of that error: Rung::bound

  bool is_right() const { return largest_error <= bound; }
};

/// Times on the first GPU, every rung on the same random numbers in [-1, 1). The first rung is
/// compared with chains of fused multiply-adds on the CPU, for some of its rows, and the others
/// with the first. n and k are multiples of 4. Throws DeviceError with the call that failed, or
/// where the build has no CUDA.
std::vector<RungTime> time_ladder(const LadderSize& size, int repetitions);

}  // namespace blockgrad::harness
