#pragma once
// Times of kernels as parts of whole programs: several calls on buffers of their own make a step,
// so that no call finds its values in a cache, and many steps run with one wait at their end.

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/kernel_row.h"
#include "support/timing.h"

namespace bench {

struct KernelTimesOptions {
  int repetitions = 9;
  double milliseconds = 100;   // of each repetition, at least
  double rotated_bytes = 1e9;  // that the buffers of a step have together, at least
};

struct KernelTimes {
  Spread seconds;          // of one call
  int calls = 0;           // in a step
  std::int64_t steps = 0;  // in each repetition
  int repetitions = 0;
  std::string kernels = {};  // of the first call, as the report tells them
};

KernelTimes times_of(const KernelRow& row, const blockgrad::Device& device,
                     const KernelTimesOptions& options);

/// The results of one call, and what it has written, after values were drawn on `fill_on`.
std::vector<blockgrad::Tensor> values_of(const KernelRow& row, const blockgrad::Device& device,
                                         const blockgrad::Device& fill_on);
/// The largest difference between two of the same element, as a share of the largest number of its
/// tensor, or of 1. Infinite where one of them is not finite.
double off_by(const std::vector<blockgrad::Tensor>& got,
              const std::vector<blockgrad::Tensor>& expected);
/// What off_by may be at most, for a row's tiny sizes: sums are made in another order.
double off_at_most(const KernelRow& row);

}  // namespace bench
