#pragma once
// A copy as an op with kernels of its own: what memory can do at most, and what kernels that only
// move values are measured by.

#include "blockgrad/blockgrad.h"

namespace bench {

/// y = x, elements of 4 bytes whose number is a multiple of 4.
struct CopyAll {
  static constexpr std::string_view name = "copy_all";
  bool operator==(const CopyAll&) const = default;
  blockgrad::TensorType infer(blockgrad::Types in) const;
  std::vector<blockgrad::Expr> vjp(const blockgrad::Backward& b) const { return {b.dy()}; }
};

/// Gives the CPU and CUDA their kernels.
void add_copy_kernels();

}  // namespace bench
