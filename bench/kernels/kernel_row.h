#pragma once
// Kernels that are timed one by one: what they compute, the least that they must move and multiply,
// and how it is said to other frameworks.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "blockgrad/blockgrad.h"
#include "kernels/drawn.h"

namespace bench {

/// One call of what is timed, on values of its own.
struct KernelCall {
  std::vector<blockgrad::Expr> results = {};
  blockgrad::Updates updates = {};
  std::vector<blockgrad::Expr> written = {};                  // by the updates
  std::shared_ptr<blockgrad::Optimizer> optimizer = nullptr;  // of the updates
};

struct KernelRow {
  std::string name;                           // "layer_norm_backward"
  std::string family;                         // what peers/kernels.py builds
  std::map<std::string, std::int64_t> sizes;  // as that reads them
  blockgrad::DType dtype = blockgrad::DType::f32;
  blockgrad::MathMode math = blockgrad::MathMode::exact;
  double bytes = 0;  // that a call reads and writes at least
  double flops = 0;  // of its products, two for each multiply-add
  std::function<KernelCall(Drawn&)> make = {};
};

/// "f32 [65536, 768]" and so on: what the row is of.
std::string title_of(const KernelRow& row);

/// All rows; tiny ones have the same names and a few hundred elements.
std::vector<KernelRow> kernel_rows(bool is_tiny);
/// The first of them, what memory can do.
KernelRow copy_row(bool is_tiny);

}  // namespace bench
