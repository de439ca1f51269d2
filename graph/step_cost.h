#pragma once
// What a step of a plan costs: what its op says, less what the plan has made where a copy goes.

#include "graph/plan.h"

namespace blockgrad {

/// Whether the step of this node is a copy of what was made where it goes, which does nothing.
bool is_copied_already(const GraphNode& node, const PlanStep& step);

/// For one run of the step. Parts of an Unview that were made in it, and what a copy reads where it
/// writes, are not moved.
Cost cost_of(const Graph& graph, const PlanStep& step);

}  // namespace blockgrad
