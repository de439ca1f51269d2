// compile: from expressions and updates to a program that is ready to run.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>

#include "backends/check_gradients.h"
#include "backends/fit_memory.h"
#include "backends/join_products.h"
#include "backends/line_sums.h"
#include "backends/mixed.h"
#include "backends/panels.h"
#include "backends/product_updates.h"
#include "backends/products.h"
#include "backends/program_state.h"
#include "backends/row_takes.h"
#include "backends/row_updates.h"
#include "backends/text_table.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/graph/leaf.h"

namespace blockgrad {

using detail::ProgramState;

namespace {

// What products are rounded to, if anything.
std::optional<DType> half_of(MathMode mode) {
  if (mode == MathMode::bf16) return DType::bf16;
  if (mode == MathMode::f16) return DType::f16;
  return std::nullopt;
}

struct Stopwatch {
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();

  PassRecord record(std::string name, const Graph& graph) const {
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    return {std::move(name), seconds.count(), static_cast<std::int64_t>(graph.nodes.size())};
  }
};

}  // namespace

Graph compiled_graph(std::span<const Expr> outputs, const Updates& updates, const Device& device,
                     const CompileOptions& options, std::vector<PassRecord>& records) {
  const Backend& backend = backend_of(device);
  const auto keeps = [&](const Op& op) { return backend.keeps(op); };
  const std::optional<DType> half = half_of(options.math);
  const auto mix = [half](const Graph& graph) { return mixed(graph, half.value()); };
  const std::vector<Pass> passes = {
      {"join_products", join_products, false},
      {"mixed", mix, false, half.has_value()},
      {"simplify", simplify},
      {"merge_equal", merge_equal},
      {"insert_copies", insert_copies, false},
      {"share_panels", share_panels},
      {"fuse_rows", [](const Graph& graph) { return fuse_rows(graph); }},
      {"fuse_maps", [](const Graph& graph) { return fuse_maps(graph); }},
      {"share_functions", share_functions},
      {"group_reductions", group_reductions},
      {"fuse_product_updates", fuse_product_updates},
      {"group_updates", group_updates},
      {"fuse_row_updates", fuse_row_updates},
      {"fuse_line_sums", fuse_line_sums},
      {"fuse_takes", fuse_takes},
      {"fuse_epilogues",
       [&](const Graph& graph) { return fuse_epilogues(graph, backend.product_formulas()); }},
      {"group_small_maps", group_small_maps},
      {"shorten_lives", shorten_lives},
      {"widen_products", [&](const Graph& graph) { return widen_products(graph, backend); }, false},
  };
  std::vector<std::string> skip = options.skip;
  for (const std::string_view pass : backend.passes_left_out(options)) skip.emplace_back(pass);
  const Stopwatch watch;
  Graph built = build_graph(outputs, updates, keeps);
  records.push_back(watch.record("build", built));
  return run_passes(std::move(built), passes, skip, options.print, records);
}

namespace {

std::vector<Expr> roots_of(std::span<const Expr> outputs, const Updates& updates) {
  std::vector<Expr> roots(outputs.begin(), outputs.end());
  for (const Update& update : updates.all()) {
    roots.push_back(update.leaf);
    roots.push_back(update.value);
    if (update.guard) roots.push_back(update.guard);
  }
  return roots;
}

// The inputs by name. Names are what feeds, files and messages use, so they must tell leaves apart.
std::map<std::string, Expr> named_inputs(std::span<const Expr> roots) {
  std::map<std::string, Expr> inputs, stores;
  for (const Node* node : detail::in_order(roots)) {
    const Expr leaf(node, 0);
    const std::string name = leaf_name(leaf);
    if (name.empty()) continue;
    const bool is_input = leaf.op().as<Input>() != nullptr;
    const auto [known, added] = (is_input ? inputs : stores).emplace(name, leaf);
    const bool same =
        added || known->second == leaf || (!is_input && stored(known->second) == stored(leaf));
    if (!same)
      fail({"two leaves of one program are named '", name, "': ", describe(known->second), " and ",
            describe(leaf)});
  }
  return inputs;
}

void fill_report(ProgramState& state, const std::vector<PassRecord>& records) {
  Report& report = state.report;
  report.math = state.options.math;
  report.arena_bytes = state.plan.arena_bytes;
  report.live_bytes = state.plan.live_bytes;
  report.reused_bytes = state.plan.reused_bytes;
  for (const auto& storage : state.storages) report.storage_bytes += bytes_of(storage->type());
  report.peak_bytes = report.storage_bytes;
  state.executable->describe(report);
  for (std::size_t i = 0; i < state.graph.nodes.size(); ++i) {
    if (state.graph.nodes[i].is_repeat)
      report.recomputed.push_back(state.graph.describe(static_cast<std::int32_t>(i)));
  }
  for (const PassRecord& record : records) {
    report.passes.push_back(
        fmt::format("{}: {} nodes, {:.2f} ms", record.name, record.nodes, record.seconds * 1e3));
  }
}

std::vector<std::shared_ptr<Stored>> storages_of(const Graph& graph) {
  std::vector<std::shared_ptr<Stored>> storages;
  for (const GraphNode& node : graph.nodes) {
    if (const auto* leaf = node.op.as<StoredLeaf>()) storages.push_back(leaf->storage);
  }
  return storages;
}

Graph unshared_graph(std::span<const Expr> outputs, const Updates& updates, const Device& device,
                     CompileOptions options) {
  options.skip.emplace_back("share_functions");
  options.skip.emplace_back("fuse_product_updates");
  options.print.clear();
  std::vector<PassRecord> records;
  return compiled_graph(outputs, updates, device, options, records);
}

// Everything of a program but the look at its numbers.
std::unique_ptr<ProgramState> assembled(std::span<const Expr> outputs, const Updates& updates,
                                        const Device& device, const CompileOptions& options,
                                        bool in_place, SourceLoc where) {
  const Stopwatch compiling;
  auto state = std::make_unique<ProgramState>();
  state->outputs.assign(outputs.begin(), outputs.end());
  state->updates = updates;
  state->options = options;
  state->device = device;
  const std::vector<Expr> roots = roots_of(outputs, updates);
  const std::map<std::string, Expr> inputs = named_inputs(roots);
  std::vector<PassRecord> records;
  state->graph = compiled_graph(outputs, updates, device, options, records);
  state->storages = storages_of(state->graph);
  const Stopwatch fitting;
  fit_memory(*state, [&] { return unshared_graph(outputs, updates, device, options); }, where);
  if (options.memory_limit > 0) records.push_back(fitting.record("fit_memory", state->graph));
  state->storages = storages_of(state->graph);
  const Stopwatch planning;
  state->plan = make_plan(state->graph, options.reuse_memory, in_place);
  records.push_back(planning.record("plan", state->graph));
  for (const std::int32_t node : state->plan.feeds) {
    const auto& leaf = *state->graph.nodes[static_cast<std::size_t>(node)].op.as<Input>();
    const auto known = inputs.find(leaf.label_name);
    require(known != inputs.end(), "input '", leaf.label_name,
            "' is made inside an op's expand, where nothing can feed it");
    state->feeds.push_back(known->second);
  }
  const Stopwatch making;
  try {
    state->executable = backend_of(device).make(state->graph, state->plan, options);
  } catch (const OutOfMemory& error) {
    throw OutOfMemory(error.what() + largest_values(state->graph, state->plan));
  }
  records.push_back(making.record("kernels", state->graph));
  state->pointers.resize(state->feeds.size());
  fill_report(*state, records);
  state->report.compile_seconds = compiling.record({}, state->graph).seconds;
  return state;
}

// Runs a step of `state` again from the same stored values: not fused, nothing in place, and
// nothing updated. The program for that is made when it is needed first.
void replay(ProgramState& state, std::span<const std::byte* const> feeds, std::int64_t step) {
  if (!state.twin) {
    CompileOptions options = state.options;
    options.check_numerics = false;
    for (const char* pass :
         {"share_panels", "fuse_rows", "fuse_maps", "share_functions", "group_reductions",
          "fuse_product_updates", "group_updates", "fuse_row_updates", "fuse_line_sums",
          "fuse_takes", "fuse_epilogues"}) {
      if (std::find(options.skip.begin(), options.skip.end(), pass) == options.skip.end())
        options.skip.emplace_back(pass);
    }
    options.print.clear();
    options.memory_limit = 0;
    try {
      state.twin = assembled(state.outputs, state.updates, cpu(), options, false, {});
    } catch (const Error& error) {
      fail({"check_numerics: step ", step,
            " computes a value that is not finite and updated nothing; the node that does cannot "
            "be named, since the CPU cannot run the step: ",
            error.what()});
    }
  }
  std::vector<const std::byte*> own;
  for (const Expr& feed : state.twin->feeds) {
    const auto at = std::find(state.feeds.begin(), state.feeds.end(), feed);
    check_internal(at != state.feeds.end(), "the replay reads ", describe(feed),
                   ", which the program does not");
    own.push_back(feeds[static_cast<std::size_t>(at - state.feeds.begin())]);
  }
  state.twin->executable->examine(own, step);
}

}  // namespace

Program compile(std::span<const Output> outputs, const Updates& updates, const Device& device,
                const CompileOptions& options, SourceLoc where) {
  std::vector<Expr> wanted;
  for (const Output& output : outputs) {
    require(static_cast<bool>(output.expr()), "compile at ", to_string(where), ": output ",
            wanted.size(), " is empty");
    wanted.push_back(output.expr());
  }
  require(name(options.math) != "?", "compile at ", to_string(where), ": there is no MathMode ",
          static_cast<int>(options.math));
  Report checks;
  if (options.check_gradients) check_gradients(roots_of(wanted, updates), checks);
  std::shared_ptr<ProgramState> state = assembled(
      wanted, updates, device, options, backend_of(device).updates_in_place(options), where);
  if (options.check_numerics) {
    state->executable->on_bad_value(
        [self = state.get()](std::span<const std::byte* const> feeds, std::int64_t step) {
          replay(*self, feeds, step);
        });
  }
  state->report.gradients_checked = checks.gradients_checked;
  state->report.gradients_not_checked = std::move(checks.gradients_not_checked);
  return Program(std::move(state));
}

}  // namespace blockgrad
