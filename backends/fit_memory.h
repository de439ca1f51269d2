#pragma once
// Programs and the memory they may take: what is done so that one fits, and what is said if not.

#include <functional>
#include <string>

#include "backends/program_state.h"

namespace blockgrad {

/// Makes the state's graph fit options.memory_limit together with its storage and scratch, or that
/// of `unshared`: the same without share_functions and fuse_product_updates, which may leave more
/// to make again. Throws Error, with the line of the compile call, if neither can: it names the
/// least limit that would do.
void fit_memory(detail::ProgramState& state, const std::function<Graph()>& unshared,
                SourceLoc where);

/// What compile would take for these: arena and scratch. Takes none of it.
std::int64_t planned_bytes(std::span<const Expr> outputs, const Updates& updates,
                           const Device& device, const CompileOptions& options);

/// "; the step needs most at matmul (net.cpp:12):" and its five largest values, one a line.
std::string largest_values(const Graph& graph, const Plan& plan);

}  // namespace blockgrad
