#pragma once
// Plan: what a compiled program does and where every value lies, as data without pointers. It can
// be printed, compared and checked without a device.

#include <cstdint>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace blockgrad {

enum class Place : std::uint8_t { arena, feed, stored, constant };

/// A value in memory: `at` is a byte offset in the arena, else the number of the feed, storage or
/// constant.
struct Operand {
  Place place = Place::arena;
  std::int64_t at = 0;
  DType dtype = DType::f32;
  Layout layout;
};

/// Whether the part of a whole that has this layout in it was made there.
inline bool is_made_there(const Operand& part, const Operand& whole, const Layout& layout) {
  return part.place == Place::arena && whole.place == Place::arena &&
         part.at == whole.at + layout.offset * static_cast<std::int64_t>(size_of(whole.dtype));
}

/// Whether a copy reads where it writes: its source was made there, or has just died.
inline bool is_copied_to_itself(const Operand& source, const Operand& copy) {
  return source.layout.is_dense() && is_made_there(source, copy, source.layout);
}

struct PlanStep {
  std::int32_t node = -1;
  std::int32_t guard = -1;               // of an update: the number in Plan::guards
  std::vector<Operand> inputs, outputs;  // results: dense, or parts made in a whole
};

/// A new value that is copied into storage at the end.
struct Commit {
  Operand source;
  std::int32_t storage = -1;
  std::int32_t guard = -1;
};

struct Plan {
  std::vector<std::int32_t> feeds, storages, constants;  // nodes of the graph
  std::vector<PlanStep> steps;                           // in order
  std::vector<PlanStep> updates;  // after everything that can fail; they write storage in place
  std::vector<Commit> commits;    // last
  std::vector<Operand> guards;    // bool scalars
  std::vector<Operand> outputs;   // dense, in the arena, kept to the end of the run
  std::vector<char> is_updated;   // per storage
  std::int64_t arena_bytes = 0;
  std::int64_t live_bytes = 0;    // the most needed at one step: no arena can be smaller
  std::int64_t reused_bytes = 0;  // what separate buffers would need on top of arena_bytes
  std::int32_t in_place = 0;      // results that took the bytes of an input
};

/// Lays out the graph as it is after all passes. `reuse` false gives every value memory of its own.
/// Every node reads storage as it was before the run: an update is done in place only where nothing
/// reads the old value after it. Without `in_place` no result takes the bytes of an input or of
/// storage: a node's inputs can still be read when it has run, and all updates are commits.
Plan make_plan(const Graph& graph, bool reuse, bool in_place = true);

/// What is live in the plan that reuses memory, for less work than making it.
struct Live {
  std::int64_t most = 0;  // Plan::live_bytes
  double byte_steps = 0;  // bytes of all values, each times the steps that it lives
};
Live live(const Graph& graph);
inline std::int64_t live_bytes(const Graph& graph) { return live(graph).most; }

}  // namespace blockgrad
