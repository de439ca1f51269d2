#include "backends/fit_memory.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "backends/text_table.h"
#include "blockgrad/graph/stored.h"
#include "graph/memory_peak.h"

namespace blockgrad {

namespace {

constexpr int most_tries = 8;  // to make up for gaps between values

// A graph and what it needs: what runs again may take other scratch than the first time.
struct Planned {
  Planned(Graph made, const Device& device, const CompileOptions& options)
      : graph(std::move(made)),
        plan(make_plan(graph, true, backend_of(device).updates_in_place(options))),
        scratch(backend_of(device).scratch_bytes(graph, plan, options)) {}
  std::int64_t bytes() const { return plan.arena_bytes + scratch; }

  Graph graph;
  Plan plan;
  std::int64_t scratch;
};

std::string bytes_text(std::int64_t bytes) { return with_unit(static_cast<double>(bytes), "B"); }

// Makes again what has to be for so many bytes, if that can be found.
std::optional<Planned> fitted(const Planned& whole, std::int64_t room, const Device& device,
                              const CompileOptions& options) {
  if (whole.bytes() <= room) return whole;
  Planned now = whole;
  std::int64_t target = room - whole.scratch;
  for (int tries = 0; target > 0 && tries < most_tries; ++tries) {
    now = Planned(recompute(now.graph, target), device, options);
    if (now.bytes() <= room) return now;
    if (now.plan.live_bytes > target) break;
    target -= now.bytes() - room;
  }
  return std::nullopt;
}

// All the way, which does not depend on the limit: so what an Error names will do.
Planned smallest(const Planned& whole, const Device& device, const CompileOptions& options) {
  Planned least(recompute(whole.graph, 0), device, options);
  return whole.bytes() < least.bytes() ? whole : least;
}

}  // namespace

void fit_memory(detail::ProgramState& state, const std::function<Graph()>& unshared,
                SourceLoc where) {
  const CompileOptions& options = state.options;
  require(options.memory_limit >= 0, "compile at ", to_string(where),
          ": memory_limit must not be negative, got ", options.memory_limit);
  require(options.memory_limit == 0 || options.reuse_memory, "compile at ", to_string(where),
          ": memory_limit wants reuse_memory");
  if (options.memory_limit == 0) return;
  std::int64_t storage = 0;
  for (const auto& leaf : state.storages) storage = checked_add(storage, bytes_of(leaf->type()));
  const std::int64_t room = options.memory_limit - storage;
  const Planned whole(state.graph, state.device, options);
  std::optional<Planned> fits = fitted(whole, room, state.device, options);
  Planned least = whole;
  if (!fits) {
    const Planned other(unshared(), state.device, options);
    fits = fitted(other, room, state.device, options);
    if (!fits) {
      const Planned shared = smallest(whole, state.device, options),
                    apart = smallest(other, state.device, options);
      least = shared.bytes() < apart.bytes() ? shared : apart;
      if (least.bytes() <= room) fits = least;
    }
  }
  if (fits) {
    state.graph = std::move(fits->graph);
    return;
  }
  fail({"compile at ", to_string(where), ": memory_limit is ", bytes_text(options.memory_limit),
        ", the least that would do is ", storage + least.bytes(), " bytes: ", bytes_text(storage),
        " of parameters and states, ", bytes_text(least.scratch), " of scratch and ",
        bytes_text(least.plan.arena_bytes), " of values, even if cheap ones are made again",
        largest_values(least.graph, least.plan)});
}

std::int64_t planned_bytes(std::span<const Expr> outputs, const Updates& updates,
                           const Device& device, const CompileOptions& options) {
  CompileOptions quiet = options;
  quiet.print.clear();
  std::vector<PassRecord> records;
  const Graph graph = compiled_graph(outputs, updates, device, quiet, records);
  const Plan plan =
      make_plan(graph, options.reuse_memory, backend_of(device).updates_in_place(options));
  return checked_add(plan.arena_bytes, backend_of(device).scratch_bytes(graph, plan, options));
}

std::string largest_values(const Graph& graph, const Plan& plan) {
  const MemoryPeak peak = memory_peak(graph, plan);
  if (peak.step < 0) return {};
  const std::int32_t node = plan.steps[static_cast<std::size_t>(peak.step)].node;
  std::string text = fmt::format("; the step needs most at {}:", graph.describe(node));
  for (const MemoryPeak::Live& live : peak.largest) {
    text += fmt::format("\n  {}  {}  {}", bytes_text(live.bytes), to_string(graph.type(live.value)),
                        graph.describe(live.value.node));
  }
  return text;
}

}  // namespace blockgrad
