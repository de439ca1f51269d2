#pragma once
// What a Program holds: the question it answers, the graph and plan made of it, and the executable.

#include <atomic>
#include <memory>
#include <vector>

#include "backends/backend.h"
#include "graph/passes/passes.h"

namespace blockgrad {

namespace detail {

struct ProgramState {
  std::vector<Expr> outputs;  // what was asked for; keeps the leaves alive
  Updates updates;
  CompileOptions options;
  Device device = cpu();
  std::vector<Expr> feeds;  // input leaves, in the plan's order
  std::vector<std::shared_ptr<Stored>> storages;
  Graph graph;
  Plan plan;
  std::unique_ptr<Executable> executable;
  Report report;
  std::vector<const std::byte*> pointers;  // of the feeds; grows once
  std::atomic<bool> is_running{false};
  std::uint64_t run_number = 0;
  std::unique_ptr<ProgramState> twin;  // for replays
};

}  // namespace detail

/// The graph after all passes that `options` does not leave out.
Graph compiled_graph(std::span<const Expr> outputs, const Updates& updates, const Device& device,
                     const CompileOptions& options, std::vector<PassRecord>& records);

/// The report of a program as text; see Program::explain.
std::string explain(const detail::ProgramState& state);

}  // namespace blockgrad
