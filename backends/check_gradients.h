#pragma once
// CompileOptions::check_gradients: every op that a program is made of, as the user wrote it,
// against central differences.

#include <span>

#include "blockgrad/backends/program.h"

namespace blockgrad {

/// Checks each op behind `roots` once per attributes and input types, at random inputs of these
/// shapes, along one random direction per input, in f64 where the op takes it. Fills the report;
/// throws Error that lists all ops whose gradient is wrong or missing, with line and scope.
void check_gradients(std::span<const Expr> roots, Report& report);

}  // namespace blockgrad
