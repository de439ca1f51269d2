#pragma once
// How many nodes of a graph have an op.

#include "graph/graph.h"

namespace test_support {

template <class T>
int count(const blockgrad::Graph& graph) {
  int n = 0;
  for (const blockgrad::GraphNode& node : graph.nodes) n += node.op.as<T>() != nullptr;
  return n;
}

}  // namespace test_support
