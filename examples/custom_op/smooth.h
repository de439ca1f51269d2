#pragma once
// An op with kernels of its own: what no formula can say, because every element waits for the one
// before it.

#include "blockgrad/graph/op.h"

namespace custom_op {

/// y_t = memory * y_(t-1) + (1 - memory) * x_t, from y_(-1) = 0; from the end to the start if
/// reversed. x: f32 or f64 [n] -> the same; memory in [0, 1).
/// Gradient: x_s counts memory^(t-s) (1 - memory) times in every later y_t, so the adjoints are
/// smoothed the other way round.
struct Smooth {
  static constexpr std::string_view name = "smooth";
  blockgrad::Number memory;
  bool reversed = false;
  bool operator==(const Smooth&) const = default;
  blockgrad::TensorType infer(blockgrad::Types in) const;
  std::vector<blockgrad::Expr> vjp(const blockgrad::Backward& b) const;
};

blockgrad::Expr smooth(blockgrad::Arg x, double memory);

/// Gives the CPU and CUDA their kernels; to be called once before programs with `smooth` are
/// compiled.
void add_smooth_kernels();

}  // namespace custom_op
