#pragma once
// A program whose inputs are random, on CUDA beside the CPU; its kernels compile with NVRTC too.

#include <random>
#include <vector>

#include "tests/support/on_cuda.h"

namespace test_support {

struct DrawnCase {
  std::vector<blockgrad::Output> outputs;
  blockgrad::Feeds feeds;
  std::mt19937_64 random{11};

  /// An input, uniform in [low, high).
  blockgrad::Expr numbers(const blockgrad::Shape& shape, blockgrad::DType dtype, double low,
                          double high);
  /// Any values of the type, both signs where it has them.
  blockgrad::Expr values(const blockgrad::Shape& shape, blockgrad::DType dtype);
  /// Integers in [0, n).
  blockgrad::Expr indices(const blockgrad::Shape& shape, blockgrad::DType dtype, std::int64_t n);

  /// Equal bits on both, and every kernel becomes a cubin where NVRTC is here.
  void check() const;
};

}  // namespace test_support
