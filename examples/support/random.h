#pragma once
// Random: numbers drawn one after the other, the same on every machine for the same seed.

#include <cstdint>

#include "blockgrad/graph/tensor.h"

namespace examples {

/// Philox4x32-10 with the seed as its key; streams of one seed share no numbers.
class Random {
 public:
  explicit Random(std::uint64_t seed, std::uint64_t stream = 0) : seed_(seed), stream_(stream) {}

  /// Evenly in [low, high), in steps of (high - low) / 2^32.
  double uniform(double low, double high);
  /// Evenly among 0 … count - 1, but for a bias below count / 2^32. count >= 1.
  std::int64_t below(std::int64_t count);
  /// f32 numbers in [low, high).
  blockgrad::Tensor uniform(const blockgrad::Shape& shape, double low, double high);

 private:
  std::uint64_t seed_, stream_;
  std::uint64_t drawn_ = 0;
};

}  // namespace examples
