// The CPU backend: a plan becomes a flat array of instructions with resolved pointers. A step walks
// it, checks the guards, writes updates in place and commits the rest.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "backends/backend.h"
#include "backends/cpu/available_memory.h"
#include "backends/cpu/cpu_executable.h"
#include "backends/cpu/cpu_limits.h"
#include "backends/cpu/families.h"
#include "backends/cpu/numerics.h"
#include "backends/cpu/subnormals.h"
#include "backends/cpu/thread_pool.h"
#include "backends/step_error.h"
#include "blockgrad/graph/leaf.h"
#include "graph/step_cost.h"

namespace blockgrad {

KernelTable& cpu_kernel_table() {
  static KernelTable table{add_map_kernels,       add_map_group_kernels,   add_reduce_kernels,
                           add_matmul_kernels,    add_index_kernels,       add_order_kernels,
                           add_row_kernels,       add_row_program_kernels, add_row_update_kernels,
                           add_unview_kernels,    add_conv_kernels,        add_conv_weight_kernels,
                           add_attention_kernels, add_pool_kernels,        add_reduce_group_kernels,
                           add_panel_kernels,     add_product_map_kernels};
  return table;
}

namespace {

// Nanoseconds of a kernel's cost that are worth one more thread.
constexpr double worth_a_thread = 2500;
// Small ones, of which many take a microsecond, before a look whether to stop.
constexpr std::int64_t steps_between_looks = 64;

Isa choose_isa(const std::string& asked) {
  const char* from_environment = std::getenv("BLOCKGRAD_ISA");
  const std::string name = !asked.empty() ? asked : from_environment ? from_environment : "";
  if (name.empty()) return best_isa();
  const Isa isa = parse_isa(name);
  require(is_supported(isa), "this processor or build has no instruction set '", name,
          "'; the best one here is ", isa_name(best_isa()));
  return isa;
}

// Whether each kernel that is worth it is shared, however long a step takes.
bool shares_always() {
  const char* asked = std::getenv("BLOCKGRAD_SHARING");
  if (!asked || !*asked) return false;
  require(std::string_view(asked) == "always", "BLOCKGRAD_SHARING must be 'always' or empty, got '",
          asked, "'");
  return true;
}

int thread_count(const CompileOptions& options) {
  require(options.threads >= 0 && options.threads <= ThreadPool::most_threads,
          "threads must lie in [0, ", ThreadPool::most_threads, "], got ", options.threads);
  return options.threads > 0 ? options.threads : available_threads();
}

Kernel kernel_of(const Graph& graph, const Plan& plan, const PlanStep& step, Isa isa) {
  const GraphNode& node = graph.nodes[static_cast<std::size_t>(step.node)];
  const KernelTable::Maker* maker = cpu_kernel_table().find(node.op);
  if (!maker)
    fail({graph.describe(step.node),
          ": the CPU has no kernel for this op, and it has no expand; "
          "cpu_kernels().add gives it one"});
  return (*maker)({node, step.inputs, step.outputs, isa, plan.is_updated});
}

// Of those that there are, as many threads as are worth it.
int threads_of(const Kernel& kernel, int threads) {
  const auto worth = static_cast<std::int64_t>(std::min(kernel.cost / worth_a_thread, 1e6));
  return static_cast<int>(
      std::max<std::int64_t>(1, std::min<std::int64_t>({threads, kernel.parts, worth})));
}

// Throws DeviceError if touching so much would end the process. Little is not worth the question.
void require_memory(std::int64_t bytes) {
  constexpr std::int64_t little = std::int64_t{64} << 20;
  if (bytes < little) return;
  const std::int64_t available = available_memory();
  if (bytes > available) {
    throw OutOfMemory(
        fmt::format("out of memory: {} bytes are wanted, {} are left", bytes, available));
  }
}

// Bytes per thread.
std::size_t scratch_of(const Kernel& kernel, bool is_watched) {
  const std::size_t bytes = kernel.scratch + (is_watched ? kernel.trial_scratch : 0);
  return (bytes + 127) / 128 * 128;
}

}  // namespace

CpuExecutable::CpuExecutable(const Graph& graph, const Plan& plan, const CompileOptions& options)
    : graph_(graph),
      plan_(plan),
      isa_(choose_isa(options.isa)),
      is_watched_(options.check_numerics),
      flushes_subnormals_(options.flush_subnormals) {
  threads_ = thread_count(options);
  arena_ = touched_memory(plan.arena_bytes);
  for (const std::int32_t node : plan.storages) storages_.push_back(leaf<StoredLeaf>(node).storage);
  feed_slots_.resize(plan.feeds.size());
  feeds_.resize(plan.feeds.size());
  steps_.reserve(plan.steps.size());
  for (const PlanStep& step : plan.steps) steps_.push_back(instruction(step));
  updates_.reserve(plan.updates.size());
  for (const PlanStep& step : plan.updates) updates_.push_back(instruction(step));
  for (const Commit& commit : plan.commits) {
    const auto& storage = *storages_[static_cast<std::size_t>(commit.storage)];
    copies_.push_back({place(commit.source), storage.bytes(),
                       static_cast<std::size_t>(bytes_of(storage.type())), commit.guard});
  }
  for (const Operand& guard : plan.guards) guards_.push_back(place(guard));
  order_step(options.reuse_memory);
  if (is_watched_) prepare_watch();
  scratch_ = touched_memory(static_cast<std::int64_t>(scratch_bytes_));
  if (uses_threads_) ThreadPool::shared().prepare(threads_);
  tries_alone_ = !shares_always() && uses_threads_;
}

std::int64_t CpuExecutable::run(std::int64_t n, const FeedRing& feeds, const StopToken* stop) {
  const SubnormalMode mode(flushes_subnormals_);
  std::optional<ThreadPool::User> user;
  if (uses_threads_) {
    ThreadPool::shared().prepare(threads_);  // new ones in a forked child
    user.emplace();
  }
  for (const auto& storage : storages_) storage->bring_home();
  if (is_watched_) begin_watch();
  small_.begin_run();
  auto last = std::chrono::steady_clock::now();
  std::int64_t ring = 0, step = 0;
  const bool is_one_segment = items_.size() == 1 && items_[0].kind == StepItem::Kind::segment;
  for (; step < n; ++step) {
    if (stop && stop->stop_requested()) break;
    if (step == 0 || feeds.rings > 1) {
      bind(feeds.of(ring));
      small_.bind(feeds_);
      if (++ring == feeds.rings) ring = 0;
    }
    if (is_one_segment && feeds.rings == 1) {
      const std::int64_t times = std::min(n - step, steps_between_looks);
      small_.run_segment(items_[0].number, times);
      step += times - 1;
      continue;
    }
    if (is_watched_) run_watched_step(step);
    else run_step(step);
    if (tries_alone_) {
      const auto now = std::chrono::steady_clock::now();
      sharing_.took(std::chrono::duration<double, std::nano>(now - last).count());
      last = now;
    }
  }
  small_.end_run();
  if (is_watched_ && step == n) end_watch();
  return step;
}

// Small instructions are joined unless every value is to have memory of its own, or is watched.
void CpuExecutable::order_step(bool joins) {
  if (joins && !is_watched_) {
    const SmallOrder order = order_small_steps(graph_, plan_);
    const auto place_of = [this](const Operand& operand) { return place(operand); };
    small_ = make_small_program(graph_, plan_, order, isa_, place_of);
    items_ = order.items();
    return;
  }
  using Kind = StepItem::Kind;
  for (std::size_t i = 0; i < steps_.size(); ++i) items_.push_back({Kind::step, i});
  for (std::size_t i = 0; i < updates_.size(); ++i) items_.push_back({Kind::update, i});
  for (std::size_t i = 0; i < copies_.size(); ++i) items_.push_back({Kind::commit, i});
}

const std::byte* CpuExecutable::output(int i) const {
  return place(plan_.outputs[static_cast<std::size_t>(i)]);
}

void CpuExecutable::describe(Report& report) const {
  report.device =
      fmt::format("cpu, {}{}, {} thread{}", isa_name(isa_), isa_ == Isa::portable ? " (slow)" : "",
                  threads_, threads_ == 1 ? "" : "s");
  report.flushes_subnormals = flushes_subnormals_;
  report.touch_seconds = touch_seconds_;
  report.peak_bytes += plan_.arena_bytes + static_cast<std::int64_t>(scratch_bytes_);
  const auto add = [&](const Instruction& i, const PlanStep& step) {
    const Cost cost = cost_of(graph_, step);
    report.nodes.push_back({graph_.describe(i.node), i.kernel.why, cost.flops, cost.bytes});
    report.flops += cost.flops;
    report.bytes += cost.bytes;
  };
  for (std::size_t k = 0; k < steps_.size(); ++k) add(steps_[k], plan_.steps[k]);
  for (std::size_t k = 0; k < updates_.size(); ++k) add(updates_[k], plan_.updates[k]);
  for (std::size_t c = 0; c < copies_.size(); ++c) {
    const std::int32_t leaf = plan_.storages[static_cast<std::size_t>(plan_.commits[c].storage)];
    const double bytes = 2 * static_cast<double>(copies_[c].bytes);
    report.nodes.push_back(
        {graph_.describe(leaf), "its new value, copied when all is done", 0, bytes});
    report.bytes += bytes;
  }
  report.kernels = static_cast<std::int64_t>(steps_.size() + updates_.size() + copies_.size());
}

// NaN in floating values: reading what no kernel wrote shows.
std::shared_ptr<std::byte> CpuExecutable::touched_memory(std::int64_t bytes) {
  const auto start = std::chrono::steady_clock::now();
  require_memory(bytes);
  auto memory = allocate_bytes(bytes);
  std::memset(memory.get(), 0xFF, static_cast<std::size_t>(bytes));
  touch_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return memory;
}

std::byte* CpuExecutable::place(const Operand& operand) const {
  switch (operand.place) {
    case Place::arena: return arena_.get() + operand.at;
    case Place::stored: return storages_[static_cast<std::size_t>(operand.at)]->bytes();
    case Place::constant:
      return const_cast<std::byte*>(
          leaf<Constant>(plan_.constants[static_cast<std::size_t>(operand.at)]).tensor.bytes());
    case Place::feed: return nullptr;  // bound per step
  }
  return nullptr;
}

CpuExecutable::Instruction CpuExecutable::instruction(const PlanStep& step) {
  Instruction made;
  made.kernel = kernel_of(graph_, plan_, step, isa_);
  made.node = step.node;
  made.guard = step.guard;
  made.first_in = inputs_.size();
  made.first_out = outputs_.size();
  for (const Operand& in : step.inputs) {
    if (in.place == Place::feed)
      feed_slots_[static_cast<std::size_t>(in.at)].push_back(inputs_.size());
    inputs_.push_back(place(in));
  }
  for (const Operand& out : step.outputs) {
    outputs_.push_back(place(out));
    // What is made in its place in another value is looked at there.
    made.results.emplace_back(out.dtype, out.layout.is_dense() ? out.layout.shape.size() : 0);
  }
  made.threads = threads_of(made.kernel, threads_);
  made.scratch = scratch_of(made.kernel, is_watched_);
  scratch_bytes_ = std::max(
      scratch_bytes_, made.scratch * static_cast<std::size_t>(made.threads) + made.kernel.shared);
  uses_threads_ = uses_threads_ || made.threads > 1;
  return made;
}

void CpuExecutable::bind(std::span<const std::byte* const> feeds) {
  for (std::size_t f = 0; f < feed_slots_.size(); ++f) {
    feeds_[f] = feeds[f];
    for (const std::size_t slot : feed_slots_[f]) inputs_[slot] = feeds[f];
  }
}

void CpuExecutable::run_step(std::int64_t number) {
  for (const StepItem item : items_) {
    switch (item.kind) {
      case StepItem::Kind::segment: small_.run_segment(item.number); break;
      case StepItem::Kind::step:
        execute(steps_[item.number]);
        if (errors_.is_set()) fail_step(steps_[item.number], number);
        break;
      case StepItem::Kind::update:
        if (holds(updates_[item.number].guard)) execute(updates_[item.number]);
        break;
      case StepItem::Kind::commit: {
        const Copy& copy = copies_[item.number];
        if (holds(copy.guard)) std::memcpy(copy.to, copy.from, copy.bytes);
        break;
      }
    }
  }
}

bool CpuExecutable::holds(std::int32_t guard) const {
  return guard < 0 || *guards_[static_cast<std::size_t>(guard)] != std::byte{0};
}

void CpuExecutable::execute(const Instruction& i, Watch watch, bool is_trial,
                            std::atomic<bool>* met_subnormals) {
  const KernelCall call{inputs_.data() + i.first_in,
                        outputs_.data() + i.first_out,
                        scratch_.get(),
                        &errors_,
                        &not_finite_,
                        watch,
                        is_trial,
                        scratch_.get() + i.scratch * static_cast<std::size_t>(i.threads),
                        ++turn_};
  ParallelCall shared{&i, call, i.scratch, i.threads, flushes_subnormals_, met_subnormals};
  const bool is_done =
      i.threads > 1 && sharing_.is_on() && ThreadPool::shared().run(&run_share, &shared, i.threads);
  if (!is_done) i.kernel.run(call, 0, i.kernel.parts);
  if (i.kernel.finish) i.kernel.finish(call);
}

// Parts are dealt out in equal runs: who does a part depends on the thread count, what a part is
// does not.
void CpuExecutable::run_share(void* context, int share) {
  const auto& shared = *static_cast<const ParallelCall*>(context);
  const std::int64_t parts = shared.instruction->kernel.parts;
  const std::int64_t first = parts * share / shared.threads;
  const std::int64_t last = parts * (share + 1) / shared.threads;
  if (first == last) return;
  KernelCall call = shared.call;
  call.scratch += static_cast<std::size_t>(share) * shared.scratch;
  call.shares = shared.threads;
  const SubnormalMode mode(shared.flushes_subnormals);
  if (!shared.met_subnormals) {
    shared.instruction->kernel.run(call, first, last);
    return;
  }
  const SubnormalWatch watch;
  shared.instruction->kernel.run(call, first, last);
  if (watch.met()) shared.met_subnormals->store(true, std::memory_order_relaxed);
}

void CpuExecutable::fail_step(const Instruction& i, std::int64_t number) {
  const WrongValue wrong{i.kernel.thing, errors_.value(), errors_.position(), i.kernel.rule};
  errors_.clear();
  blockgrad::fail_step(graph_, i.node, wrong, number);
}

namespace {

class CpuBackend final : public Backend {
 public:
  bool keeps(const Op& op) const override { return cpu_kernel_table().find(op) != nullptr; }

  std::vector<std::string_view> passes_left_out(const CompileOptions& options) const override {
    // See small_program.h. Who looks for numbers that are not finite bounds formulas that stand
    // alone.
    if (options.check_numerics)
      return {"fuse_product_updates", "fuse_row_updates", "fuse_line_sums",
              "fuse_takes",           "fuse_epilogues",   "group_small_maps"};
    // A Map is made again for less work than the product in front of it.
    if (options.memory_limit > 0) return {"fuse_epilogues", "group_small_maps"};
    return {"group_small_maps"};
  }

  ProductFormulas product_formulas() const override { return {part_map_space, true}; }

  std::unique_ptr<Executable> make(const Graph& graph, const Plan& plan,
                                   const CompileOptions& options) const override {
    return std::make_unique<CpuExecutable>(graph, plan, options);
  }

  std::int64_t scratch_bytes(const Graph& graph, const Plan& plan,
                             const CompileOptions& options) const override {
    const Isa isa = choose_isa(options.isa);
    const int threads = thread_count(options);
    std::size_t most = 0;
    for (const auto* phase : {&plan.steps, &plan.updates}) {
      for (const PlanStep& step : *phase) {
        const Kernel kernel = kernel_of(graph, plan, step, isa);
        most = std::max(most, scratch_of(kernel, options.check_numerics) *
                                      static_cast<std::size_t>(threads_of(kernel, threads)) +
                                  kernel.shared);
      }
    }
    return static_cast<std::int64_t>(most);
  }

  bool has_memory(std::int64_t bytes) const override {
    try {
      require_memory(bytes);
      allocate_bytes(bytes);
    } catch (const DeviceError&) {
      return false;
    }
    return true;
  }
};

}  // namespace

std::shared_ptr<const Backend> cpu_backend() { return std::make_shared<CpuBackend>(); }

}  // namespace blockgrad
