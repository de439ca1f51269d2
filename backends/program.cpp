#include "blockgrad/backends/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "backends/cpu/families.h"
#include "backends/cpu/isa.h"
#include "backends/cpu/thread_pool.h"
#include "backends/executable.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/graph/leaf.h"
#include "graph/passes/passes.h"

namespace blockgrad {

namespace detail {

struct ProgramState {
  std::vector<Expr> outputs;  // what was asked for; keeps the leaves alive
  Updates updates;
  CompileOptions options;
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

namespace {

using detail::ProgramState;

Graph compiled_graph(std::span<const Expr> outputs, const Updates& updates,
                     const CompileOptions& options, std::vector<PassRecord>& records) {
  const auto keeps = [](const Op& op) { return cpu_kernel_table().find(op) != nullptr; };
  const Pass passes[] = {
      {"simplify", simplify},
      {"merge_equal", merge_equal},
      {"insert_copies", insert_copies, false},
      {"fuse_maps", fuse_maps},
  };
  return run_passes(build_graph(outputs, updates, keeps), passes, options.skip, options.print,
                    records);
}

std::vector<Expr> roots_of(std::span<const Expr> outputs, const Updates& updates) {
  std::vector<Expr> roots(outputs.begin(), outputs.end());
  for (const Update& update : updates.all()) {
    roots.push_back(update.leaf);
    roots.push_back(update.value);
    if (update.guard) roots.push_back(update.guard);
  }
  return roots;
}

// Names are what feeds, files and messages use, so they must tell leaves apart.
void check_names(std::span<const Expr> roots) {
  std::map<std::string, Expr> seen;
  for (const Node* node : detail::in_order(roots)) {
    const Expr leaf(node, 0);
    const std::string name = leaf_name(leaf);
    if (name.empty()) continue;
    const bool is_input = leaf.op().as<Input>() != nullptr;
    const auto [known, added] = seen.emplace((is_input ? "input " : "") + name, leaf);
    const bool same =
        added || known->second == leaf || (!is_input && stored(known->second) == stored(leaf));
    require(same, "two leaves of one program are named '", name, "': ", describe(known->second),
            " and ", describe(leaf));
  }
}

class RunGuard {
 public:
  explicit RunGuard(ProgramState& state) : state_(state) {
    require(!state.is_running.exchange(true, std::memory_order_acquire),
            "the program is running in another thread; a Program runs in one thread at a time");
    for (; locked_ < state.storages.size(); ++locked_) {
      if (lock(locked_)) continue;
      const Stored& busy = *state.storages[locked_];
      release();
      fail(
          {"'", busy.name(), "' is in use by another program; one that updates it needs it alone"});
    }
  }
  ~RunGuard() { release(); }
  RunGuard(const RunGuard&) = delete;
  RunGuard& operator=(const RunGuard&) = delete;

 private:
  bool updates(std::size_t i) const { return state_.plan.is_updated[i] != 0; }
  bool lock(std::size_t i) const {
    return updates(i) ? state_.storages[i]->lock_exclusive() : state_.storages[i]->lock_shared();
  }
  void release() {
    while (locked_ > 0) {
      --locked_;
      if (updates(locked_)) {
        state_.storages[locked_]->bump_version();
        state_.storages[locked_]->unlock_exclusive();
      } else {
        state_.storages[locked_]->unlock_shared();
      }
    }
    state_.is_running.store(false, std::memory_order_release);
  }

  ProgramState& state_;
  std::size_t locked_ = 0;
};

// Writes the memory of each feed to `pointers`, in the plan's order. Messages are made only on
// failure: a run allocates nothing.
void bind_feeds(const ProgramState& state, std::span<const Feed> feeds,
                const std::byte** pointers) {
  const std::size_t count = state.feeds.size();
  std::fill_n(pointers, count, nullptr);
  for (const Feed& feed : feeds) {
    std::size_t at = 0;
    while (at < count && !(state.feeds[at] == feed.leaf)) ++at;
    if (at == count) {
      if (feed.leaf && feed.leaf.op().as<Input>()) continue;  // an input this program does not read
      fail({"only inputs can be fed, got ", feed.leaf ? describe(feed.leaf) : "an empty Expr"});
    }
    if (pointers[at]) fail({describe(feed.leaf), " is fed twice"});
    if (!(feed.value.type() == feed.leaf.type())) {
      fail({describe(feed.leaf), " expects ", to_string(feed.leaf.type()), ", got ",
            to_string(feed.value.type())});
    }
    static constexpr std::byte nothing{};  // values without elements may have no memory
    pointers[at] = feed.value.bytes() ? feed.value.bytes() : &nothing;
  }
  for (std::size_t at = 0; at < count; ++at) {
    if (!pointers[at]) fail({describe(state.feeds[at]), " is not fed"});
  }
}

void fill_report(ProgramState& state, const std::vector<PassRecord>& records) {
  Report& report = state.report;
  report.arena_bytes = state.plan.arena_bytes;
  report.reused_bytes = state.plan.reused_bytes;
  for (const auto& storage : state.storages) report.storage_bytes += bytes_of(storage->type());
  report.peak_bytes = report.storage_bytes;
  state.executable->describe(report);
  for (const PassRecord& record : records) {
    report.passes.push_back(
        fmt::format("{}: {} nodes, {:.2f} ms", record.name, record.nodes, record.seconds * 1e3));
  }
}

}  // namespace

Device cpu() { return device("cpu"); }

Device device(std::string_view name) {
  if (name != "cpu")
    throw DeviceError(join({"this build has no device '", name, "'; it has: cpu"}));
  return Device(std::string(name));
}

std::string device_report() {
  const Isa isa = best_isa();
  return fmt::format("cpu: {} thread{}, instruction set {}{}\n", available_threads(),
                     available_threads() == 1 ? "" : "s", isa_name(isa),
                     isa == Isa::portable ? " (slow: no AVX2 or AVX-512 here)" : "");
}

namespace {

// Everything of a program but the look at its numbers.
std::unique_ptr<ProgramState> assembled(std::span<const Expr> outputs, const Updates& updates,
                                        const CompileOptions& options, bool in_place) {
  const auto start = std::chrono::steady_clock::now();
  auto state = std::make_unique<ProgramState>();
  state->outputs.assign(outputs.begin(), outputs.end());
  state->updates = updates;
  state->options = options;
  const std::vector<Expr> roots = roots_of(outputs, updates);
  check_names(roots);
  std::vector<PassRecord> records;
  state->graph = compiled_graph(outputs, updates, options, records);
  state->plan = make_plan(state->graph, options.reuse_memory, in_place);
  std::map<std::string, Expr> inputs;
  for (const Node* node : detail::in_order(roots)) {
    if (node->op.as<Input>()) inputs.emplace(leaf_name({node, 0}), Expr(node, 0));
  }
  for (const std::int32_t node : state->plan.feeds) {
    const auto& leaf = *state->graph.nodes[static_cast<std::size_t>(node)].op.as<Input>();
    const auto known = inputs.find(leaf.label_name);
    require(known != inputs.end(), "input '", leaf.label_name,
            "' is made inside an op's expand, where nothing can feed it");
    state->feeds.push_back(known->second);
  }
  for (const std::int32_t node : state->plan.storages) {
    state->storages.push_back(
        state->graph.nodes[static_cast<std::size_t>(node)].op.as<StoredLeaf>()->storage);
  }
  state->executable = make_cpu_executable(state->graph, state->plan, options);
  state->pointers.resize(state->feeds.size());
  fill_report(*state, records);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  state->report.compile_seconds = seconds.count();
  return state;
}

// Runs a step of `state` again from the same stored values: not fused, nothing in place, and
// nothing updated. The program for that is made when it is needed first.
void replay(ProgramState& state, std::span<const std::byte* const> feeds, std::int64_t step) {
  if (!state.twin) {
    CompileOptions options = state.options;
    options.check_numerics = false;
    if (std::find(options.skip.begin(), options.skip.end(), "fuse_maps") == options.skip.end())
      options.skip.emplace_back("fuse_maps");
    options.print.clear();
    state.twin = assembled(state.outputs, state.updates, options, false);
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

Program compile(std::span<const Output> outputs, const Updates& updates, const Device&,
                const CompileOptions& options, SourceLoc where) {
  std::vector<Expr> wanted;
  for (const Output& output : outputs) {
    require(static_cast<bool>(output.expr()), "compile at ", to_string(where), ": output ",
            wanted.size(), " is empty");
    wanted.push_back(output.expr());
  }
  std::shared_ptr<ProgramState> state = assembled(wanted, updates, options, true);
  if (options.check_numerics) {
    state->executable->on_bad_value(
        [self = state.get()](std::span<const std::byte* const> feeds, std::int64_t step) {
          replay(*self, feeds, step);
        });
  }
  return Program(std::move(state));
}

Results Program::run(std::span<const Feed> feeds) {
  ProgramState& state = *state_;
  const RunGuard guard(state);
  bind_feeds(state, feeds, state.pointers.data());
  ++state.run_number;
  const auto count = static_cast<std::int64_t>(state.feeds.size());
  state.executable->run(1, {state.pointers, count, 1}, nullptr);
  return {state_, state.run_number, 1};
}

Results Program::run_many(std::int64_t n, std::span<const Feeds> feeds, const StopToken* stop) {
  ProgramState& state = *state_;
  require(n >= 0, "run_many wants a number of steps, got ", n);
  const RunGuard guard(state);
  const std::size_t rings = std::max<std::size_t>(feeds.size(), 1);
  const std::size_t count = state.feeds.size();
  if (state.pointers.size() < rings * count) state.pointers.resize(rings * count);
  for (std::size_t ring = 0; ring < rings; ++ring) {
    bind_feeds(state, feeds.empty() ? std::span<const Feed>() : std::span<const Feed>(feeds[ring]),
               state.pointers.data() + ring * count);
  }
  ++state.run_number;
  const FeedRing ring{state.pointers, static_cast<std::int64_t>(count),
                      static_cast<std::int64_t>(rings)};
  return {state_, state.run_number, state.executable->run(n, ring, stop)};
}

Tensor Results::tensor(int i) const {
  const auto& outputs = state_->plan.outputs;
  require(i >= 0 && static_cast<std::size_t>(i) < outputs.size(), "output ", i,
          " of a program with ", outputs.size(), " outputs");
  require(state_->run_number == run_, "these results are of run ", static_cast<std::int64_t>(run_),
          ", but run ", static_cast<std::int64_t>(state_->run_number),
          " has replaced them; read results before the next run");
  require(steps_ > 0, "no step was run, so there is nothing to read");
  const Operand& output = outputs[static_cast<std::size_t>(i)];
  const TensorType type{output.dtype, output.layout.shape};
  auto copy = allocate_bytes(bytes_of(type));
  std::memcpy(copy.get(), state_->executable->output(i), static_cast<std::size_t>(bytes_of(type)));
  return adopt(type, std::move(copy));
}

double Results::number(int i) const {
  const auto& outputs = state_->plan.outputs;
  require(i >= 0 && static_cast<std::size_t>(i) < outputs.size(), "output ", i,
          " of a program with ", outputs.size(), " outputs");
  const Operand& output = outputs[static_cast<std::size_t>(i)];
  require(output.layout.shape.size() == 1, "output ", i, " has shape ", output.layout.shape,
          "; read it with tensor(", i, ")");
  require(state_->run_number == run_, "these results are of run ", static_cast<std::int64_t>(run_),
          ", but run ", static_cast<std::int64_t>(state_->run_number),
          " has replaced them; read results before the next run");
  require(steps_ > 0, "no step was run, so there is nothing to read");
  const std::byte* value = state_->executable->output(i);
  return visit(output.dtype, [&](auto zero) {
    return static_cast<double>(*reinterpret_cast<const decltype(zero)*>(value));
  });
}

const Report& Program::report() const { return state_->report; }

std::string Program::explain() const {
  const Report& report = state_->report;
  std::string text = fmt::format(
      "{}: {} kernels per step, {:.4g} FLOP, {:.4g} bytes moved; compiled in {:.2f} ms\n"
      "memory: peak {} bytes = arena {} (reuse saved {}; {} results in place) + storage {} + "
      "scratch {}\n",
      report.device, report.kernels, report.flops, report.bytes, report.compile_seconds * 1e3,
      report.peak_bytes, report.arena_bytes, report.reused_bytes, state_->plan.in_place,
      report.storage_bytes, report.peak_bytes - report.arena_bytes - report.storage_bytes);
  for (const std::string& pass : report.passes) text += "pass " + pass + "\n";
  for (const NodeReport& node : report.nodes) {
    text += fmt::format("  {}: {:.4g} FLOP, {:.4g} bytes | {}\n", node.node, node.flops, node.bytes,
                        node.kernel);
  }
  return text;
}

std::string Program::to_text() const { return blockgrad::to_text(state_->graph); }
std::string Program::to_dot() const { return blockgrad::to_dot(state_->graph); }

Tensor evaluate(const Expr& expr, std::span<const Feed> feeds, const CompileOptions& options) {
  const Output outputs[] = {expr};
  Program program = compile(outputs, {}, cpu(), options);
  return program.run(feeds).tensor(0);
}

std::string to_dot(std::span<const Output> outputs) {
  std::vector<Expr> exprs;
  for (const Output& output : outputs) {
    require(static_cast<bool>(output.expr()), "to_dot: output ", exprs.size(), " is empty");
    exprs.push_back(output.expr());
  }
  return to_dot(build_graph(exprs, {}, [](const Op&) { return true; }));
}

}  // namespace blockgrad
