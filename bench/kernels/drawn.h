#pragma once
// Values that kernels are timed on: random, because zeros are multiplied faster than numbers, and
// made where they are used, because a host is slow at drawing gigabytes.

#include <cstdint>

#include "blockgrad/blockgrad.h"

namespace bench {

/// States whose first values a program draws. Equal order of calls gives equal values, on every
/// device.
class Drawn {
 public:
  Drawn() : context_({.seed = 1, .name = "drawn"}) {}

  /// Evenly from [-1, 1).
  blockgrad::Expr numbers(const blockgrad::Shape& shape,
                          blockgrad::DType dtype = blockgrad::DType::f32);
  /// Whole numbers below n, i32.
  blockgrad::Expr below(std::int64_t n, const blockgrad::Shape& shape);
  /// Gives all that were asked for so far their values.
  void fill(const blockgrad::Device& device);

 private:
  blockgrad::Expr add(const blockgrad::Expr& value);

  blockgrad::Context context_;
  blockgrad::Updates updates_;
  int count_ = 0;
};

}  // namespace bench
