#pragma once
// What the passes of a program fused, what they left apart and why, for explain().

#include <map>
#include <span>
#include <string>
#include <vector>

#include "backends/program_state.h"
#include "graph/passes/passes.h"

namespace blockgrad {

/// The passes repeated with a log: compile itself keeps none. The program outlives it.
class Fusions {
 public:
  explicit Fusions(const detail::ProgramState& state);

  /// What a fused node of the program is made of; nothing for other nodes.
  std::vector<std::string> op_texts(std::int32_t node) const;
  /// All that was fused, and what was not by reason. `kernels`: nodes in order of running.
  std::string text(std::span<const std::int32_t> kernels) const;

 private:
  void find_epilogues(CompileOptions options, const Graph& fused);
  const GraphNode& node(std::int32_t i) const {
    return state_.graph.nodes[static_cast<std::size_t>(i)];
  }
  std::vector<std::string> group_texts(std::size_t group) const;
  std::string row_programs(std::span<const std::int32_t> kernels) const;
  std::string maps(std::span<const std::int32_t> kernels) const;
  std::string epilogues() const;

  const detail::ProgramState& state_;
  Graph before_;  // what fuse_maps was given
  FusionLog fusion_;
  Graph before_rows_;  // what fuse_rows was given
  FusionLog rows_;
  Graph before_epilogues_;  // what fuse_epilogues was given
  FusionLog epilogues_;
  std::map<std::int32_t, std::size_t> epilogue_of_;  // of each product with a formula
  std::map<std::int32_t, std::size_t>
      formula_of_;                                // of the fused Maps that fuse_epilogues was given
  std::map<std::int32_t, std::size_t> group_of_;  // of each fused kernel's node
};

}  // namespace blockgrad
