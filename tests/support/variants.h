#pragma once
// The ways to compile one program that must give the same bits.

#include <span>
#include <string>
#include <vector>

#include "blockgrad/backends/program.h"

namespace op_check {

struct Variant {
  std::string name;
  blockgrad::CompileOptions options;
};

/// Each pass left out, all of them left out, memory not reused, other instruction sets and numbers
/// of threads. The first one leaves out every pass, on portable code, and reuses no memory.
const std::vector<Variant>& variants();

/// Values of `outputs`, computed once. Feeds that nothing reads are left out.
std::vector<blockgrad::Tensor> run(std::span<const blockgrad::Expr> outputs,
                                   const blockgrad::Feeds& feeds,
                                   const blockgrad::CompileOptions& options = {});

}  // namespace op_check
