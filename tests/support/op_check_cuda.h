#pragma once
// The rows of ops on CUDA: with BLOCKGRAD_TEST_DEVICE set, to "harness" or "cuda", the suites of
// ops compare that device with the CPU in place of their other checks.

#include "tests/support/op_case.h"

namespace op_check {

bool is_about_cuda();

/// The value and the gradients of every try in f32, and a share of those in other dtypes that the
/// row's name draws (all of them with BLOCKGRAD_TEST_ALL=1), against the CPU's. Failures go to
/// Boost.Test.
void check_cuda(const OpCase& row);

}  // namespace op_check
