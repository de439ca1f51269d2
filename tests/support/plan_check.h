#pragma once
// A look at a memory plan, step by step.

#include "graph/plan.h"

namespace test_support {

/// The graph of these values before anything is fused.
blockgrad::Graph graph_of(std::vector<blockgrad::Expr> outputs,
                          const blockgrad::Updates& updates = {});

/// Walks the steps with the owner of every byte range: a value that is read must still be there.
void check_plan(const blockgrad::Graph& graph, const blockgrad::Plan& plan);

}  // namespace test_support
