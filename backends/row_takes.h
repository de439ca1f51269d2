#pragma once
// The pass that lets row programs read rows of tables by their numbers.

#include "graph/graph.h"

namespace blockgrad {

/// A Gather of lines from a leaf that one row program alone reads becomes an input of the program,
/// which takes a few lines at a time: they are not stored. Lines are of 128 bytes to 511 elements.
/// Equal bits.
Graph fuse_takes(const Graph& graph);

}  // namespace blockgrad
