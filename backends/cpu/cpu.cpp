// The CPU backend: a plan becomes a flat array of instructions with resolved pointers. A step walks
// it, checks the guards, writes updates in place and commits the rest.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "backends/cpu/families.h"
#include "backends/cpu/thread_pool.h"
#include "backends/executable.h"
#include "blockgrad/graph/leaf.h"

namespace blockgrad {

KernelTable& cpu_kernel_table() {
  static KernelTable table{add_map_kernels,   add_reduce_kernels, add_matmul_kernels,
                           add_index_kernels, add_order_kernels,  add_unview_kernels};
  return table;
}

namespace {

// Below this many nanoseconds a second thread costs more than it brings.
constexpr double worth_threads = 10000;

struct Instruction {
  Kernel kernel;
  std::int32_t node = -1;
  std::int32_t guard = -1;
  std::size_t first_in = 0;   // in inputs_
  std::size_t first_out = 0;  // in outputs_
  int threads = 1;
  std::size_t scratch = 0;                              // bytes per thread
  std::vector<std::pair<DType, std::int64_t>> results;  // for the numeric check
};

struct Copy {
  const std::byte* from = nullptr;
  std::byte* to = nullptr;
  std::size_t bytes = 0;
  std::int32_t guard = -1;
};

struct ParallelCall {
  const Instruction* instruction;
  KernelCall call;
  std::size_t scratch;
  int threads;
};

// Parts are dealt out in equal runs: who does a part depends on the thread count, what a part is
// does not.
void run_share(void* context, int thread) {
  const auto& shared = *static_cast<const ParallelCall*>(context);
  const std::int64_t parts = shared.instruction->kernel.parts;
  const std::int64_t first = parts * thread / shared.threads;
  const std::int64_t last = parts * (thread + 1) / shared.threads;
  if (first == last) return;
  KernelCall call = shared.call;
  call.scratch += static_cast<std::size_t>(thread) * shared.scratch;
  shared.instruction->kernel.run(call, first, last);
}

class CpuExecutable final : public Executable {
 public:
  CpuExecutable(const Graph& graph, const Plan& plan, const CompileOptions& options)
      : graph_(graph),
        plan_(plan),
        isa_(choose_isa(options.isa)),
        check_numerics_(options.check_numerics) {
    require(options.threads >= 0 && options.threads <= ThreadPool::most_threads,
            "threads must lie in [0, ", ThreadPool::most_threads, "], got ", options.threads);
    threads_ = options.threads > 0 ? options.threads : available_threads();
    arena_ = touched_memory(plan.arena_bytes);
    for (const std::int32_t node : plan.storages)
      storages_.push_back(leaf<StoredLeaf>(node).storage);
    feed_slots_.resize(plan.feeds.size());
    for (const PlanStep& step : plan.steps) steps_.push_back(instruction(step));
    for (const PlanStep& step : plan.updates) updates_.push_back(instruction(step));
    for (const Commit& commit : plan.commits) {
      const auto& storage = *storages_[static_cast<std::size_t>(commit.storage)];
      copies_.push_back({place(commit.source), storage.bytes(),
                         static_cast<std::size_t>(bytes_of(storage.type())), commit.guard});
    }
    for (const Operand& guard : plan.guards) guards_.push_back(place(guard));
    scratch_ = touched_memory(static_cast<std::int64_t>(scratch_bytes_));
    if (uses_threads_) ThreadPool::shared().prepare(threads_);
  }

  std::int64_t run(std::int64_t n, const FeedRing& feeds, const StopToken* stop) override {
    std::int64_t bound = -1;
    for (std::int64_t step = 0; step < n; ++step) {
      if (stop && stop->stop_requested()) return step;
      const std::int64_t ring = feeds.rings > 1 ? step % feeds.rings : 0;
      if (ring != bound) bind(feeds, ring);
      bound = ring;
      run_step(step);
    }
    return n;
  }

  const std::byte* output(int i) const override {
    return place(plan_.outputs[static_cast<std::size_t>(i)]);
  }

  void describe(Report& report) const override {
    report.device =
        fmt::format("cpu, {}{}, {} thread{}", isa_name(isa_),
                    isa_ == Isa::portable ? " (slow)" : "", threads_, threads_ == 1 ? "" : "s");
    report.touch_seconds = touch_seconds_;
    report.peak_bytes += plan_.arena_bytes + static_cast<std::int64_t>(scratch_bytes_);
    for (const auto* phase : {&steps_, &updates_}) {
      for (const Instruction& i : *phase) {
        const GraphNode& node = graph_.nodes[static_cast<std::size_t>(i.node)];
        std::vector<TensorType> in;
        for (const Value v : node.inputs) in.push_back(graph_.type(v));
        const Cost cost = node.op->cost(in, node.types);
        report.nodes.push_back({graph_.describe(i.node), i.kernel.why, cost.flops, cost.bytes});
        report.flops += cost.flops;
        report.bytes += cost.bytes;
      }
    }
    for (const Copy& copy : copies_) report.bytes += 2 * static_cast<double>(copy.bytes);
    report.kernels = static_cast<std::int64_t>(steps_.size() + updates_.size() + copies_.size());
  }

 private:
  static Isa choose_isa(const std::string& asked) {
    const char* from_environment = std::getenv("BLOCKGRAD_ISA");
    const std::string name = !asked.empty() ? asked : from_environment ? from_environment : "";
    if (name.empty()) return best_isa();
    const Isa isa = parse_isa(name);
    require(is_supported(isa), "this processor or build has no instruction set '", name,
            "'; the best one here is ", isa_name(best_isa()));
    return isa;
  }

  // NaN in floating values: reading what no kernel wrote shows.
  std::shared_ptr<std::byte> touched_memory(std::int64_t bytes) {
    const auto start = std::chrono::steady_clock::now();
    auto memory = allocate_bytes(bytes);
    std::memset(memory.get(), 0xFF, static_cast<std::size_t>(bytes));
    touch_seconds_ +=
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return memory;
  }

  template <class T>
  const T& leaf(std::int32_t node) const {
    return *graph_.nodes[static_cast<std::size_t>(node)].op.as<T>();
  }

  std::byte* place(const Operand& operand) const {
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

  Instruction instruction(const PlanStep& step) {
    const GraphNode& node = graph_.nodes[static_cast<std::size_t>(step.node)];
    const KernelTable::Maker* maker = cpu_kernel_table().find(node.op);
    require(maker != nullptr, graph_.describe(step.node),
            ": the CPU has no kernel for this op, and it has no expand; "
            "cpu_kernels().add gives it one");
    Instruction made;
    made.kernel = (*maker)({node, step.inputs, step.outputs, isa_});
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
      made.results.emplace_back(out.dtype, out.layout.shape.size());
    }
    if (made.kernel.parts > 1 && made.kernel.cost > worth_threads) {
      made.threads = static_cast<int>(std::min<std::int64_t>(threads_, made.kernel.parts));
    }
    made.scratch = (made.kernel.scratch + 127) / 128 * 128;
    scratch_bytes_ =
        std::max(scratch_bytes_, made.scratch * static_cast<std::size_t>(made.threads));
    uses_threads_ = uses_threads_ || made.threads > 1;
    return made;
  }

  void bind(const FeedRing& feeds, std::int64_t ring) {
    for (std::size_t f = 0; f < feed_slots_.size(); ++f) {
      const std::byte* pointer = feeds.pointers[static_cast<std::size_t>(ring * feeds.feeds) + f];
      for (const std::size_t slot : feed_slots_[f]) inputs_[slot] = pointer;
    }
  }

  void run_step(std::int64_t number) {
    for (const Instruction& i : steps_) {
      execute(i);
      if (errors_.is_set()) fail_step(i, number);
      if (check_numerics_) check_finite(i, number);
    }
    for (const Instruction& i : updates_) {
      if (holds(i.guard)) execute(i);
    }
    for (const Copy& copy : copies_) {
      if (holds(copy.guard)) std::memcpy(copy.to, copy.from, copy.bytes);
    }
  }

  bool holds(std::int32_t guard) const {
    return guard < 0 || *guards_[static_cast<std::size_t>(guard)] != std::byte{0};
  }

  void execute(const Instruction& i) {
    const KernelCall call{inputs_.data() + i.first_in, outputs_.data() + i.first_out,
                          scratch_.get(), &errors_};
    if (i.threads > 1) {
      ParallelCall shared{&i, call, i.scratch, i.threads};
      if (ThreadPool::shared().run(&run_share, &shared, i.threads)) return;
    }
    i.kernel.run(call, 0, i.kernel.parts);
  }

  [[noreturn]] void fail_step(const Instruction& i, std::int64_t number) {
    const std::int64_t value = errors_.value();
    const std::int64_t position = errors_.position();
    errors_.clear();
    const Shape& shape = graph_.nodes[static_cast<std::size_t>(i.node)].types[0].shape;
    fail({graph_.describe(i.node), ": index ", value, " at position ", place_in(shape, position),
          " is out of range (", i.kernel.why, "); step ", number, " of this run updated nothing"});
  }

  // "5" in a vector, "[1, 2]" in a matrix.
  static std::string place_in(const Shape& shape, std::int64_t position) {
    if (shape.rank() < 2) return fmt::format("{}", position);
    std::vector<std::int64_t> index(static_cast<std::size_t>(shape.rank()));
    for (int a = shape.rank() - 1; a >= 0; --a) {
      index[static_cast<std::size_t>(a)] = position % shape[a];
      position /= shape[a];
    }
    return to_string(Shape(index));
  }

  void check_finite(const Instruction& i, std::int64_t number) const {
    for (std::size_t r = 0; r < i.results.size(); ++r) {
      const auto [dtype, size] = i.results[r];
      if (!is_floating(dtype)) continue;
      for (std::int64_t e = 0; e < size; ++e) {
        const double value = element(outputs_[i.first_out + r], dtype, e);
        if (std::isfinite(value)) continue;
        fail({graph_.describe(i.node), ": the first value that is not finite: ", value,
              " at element ", e, " of ",
              graph_.nodes[static_cast<std::size_t>(i.node)].types[r].shape, " in step ", number,
              "; its inputs:", input_ranges(i)});
      }
    }
  }

  static double element(const std::byte* memory, DType dtype, std::int64_t e) {
    return dtype == DType::f32 ? static_cast<double>(reinterpret_cast<const float*>(memory)[e])
                               : reinterpret_cast<const double*>(memory)[e];
  }

  std::string input_ranges(const Instruction& i) const {
    std::string text;
    const GraphNode& node = graph_.nodes[static_cast<std::size_t>(i.node)];
    for (std::size_t n = 0; n < node.inputs.size(); ++n) {
      const Operand& in = operands_of(i.node)[n];
      if (!is_floating(in.dtype) || in.layout.shape.size() == 0 || !in.layout.is_dense()) continue;
      double low = element(inputs_[i.first_in + n], in.dtype, 0), high = low;
      for (std::int64_t e = 1; e < in.layout.shape.size(); ++e) {
        const double value = element(inputs_[i.first_in + n], in.dtype, e);
        low = std::fmin(low, value);
        high = std::fmax(high, value);
      }
      text +=
          fmt::format(" {} in [{:.6g}, {:.6g}]", graph_.describe(node.inputs[n].node), low, high);
    }
    return text.empty() ? " (views)" : text;
  }

  const std::vector<Operand>& operands_of(std::int32_t node) const {
    const auto found = std::find_if(plan_.steps.begin(), plan_.steps.end(),
                                    [&](const PlanStep& s) { return s.node == node; });
    return found->inputs;
  }

  const Graph& graph_;
  const Plan& plan_;
  const Isa isa_;
  const bool check_numerics_;
  int threads_ = 1;
  double touch_seconds_ = 0;
  std::shared_ptr<std::byte> arena_, scratch_;
  std::size_t scratch_bytes_ = 0;
  bool uses_threads_ = false;
  std::vector<std::shared_ptr<Stored>> storages_;
  std::vector<Instruction> steps_, updates_;
  std::vector<Copy> copies_;
  std::vector<const std::byte*> inputs_, guards_;
  std::vector<std::byte*> outputs_;
  std::vector<std::vector<std::size_t>> feed_slots_;  // per feed: where its pointer goes in inputs_
  StepErrors errors_;
};

}  // namespace

std::unique_ptr<Executable> make_cpu_executable(const Graph& graph, const Plan& plan,
                                                const CompileOptions& options) {
  return std::make_unique<CpuExecutable>(graph, plan, options);
}

}  // namespace blockgrad
