#pragma once
// The pass that lets row programs add up their lines.

#include "graph/graph.h"

namespace blockgrad {

/// A Reduce that adds up some neighbouring lines each of what a row program makes for it alone
/// becomes a result of the program: the lines are not stored. They are of f32 or f64, of 511
/// elements at most, 2048 for one sum; all sums of a program are of as many lines. Equal bits.
Graph fuse_line_sums(const Graph& graph);

}  // namespace blockgrad
