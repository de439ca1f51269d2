#pragma once
// compile and Program: one whole step (forward, backward, update) with everything decided
// beforehand. Running it allocates nothing. A Program runs in one thread at a time; Programs that
// only read a parameter may run together.

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "blockgrad/graph/updates.h"
#include "blockgrad/ops/losses.h"

namespace blockgrad {

class Backend;
struct Operand;
namespace detail {
struct ProgramState;
}

/// Where a program runs.
class Device {
 public:
  const std::string& name() const { return name_; }

 private:
  friend Device make_device(std::string name, std::shared_ptr<const Backend> backend);
  friend const Backend& backend_of(const Device& device);
  Device(std::string name, std::shared_ptr<const Backend> backend)
      : name_(std::move(name)), backend_(std::move(backend)) {}
  std::string name_;
  std::shared_ptr<const Backend> backend_;
};

Device cpu();
/// The first NVIDIA GPU. Throws DeviceError, saying why, where none can be used.
Device cuda();
/// "cpu" or "cuda". Throws DeviceError if it is another name, and as cuda().
Device device(std::string_view name);
/// The fastest one: the CPU, until CUDA has been measured.
Device best_device();
/// What there is of each device. cpu: threads, instruction set, and whether it is slow; cuda: the
/// GPU, its memory, versions, and the libraries found or where they were sought; or why it is off.
std::string device_report();

/// How products of f32 (matmul, convolutions, attention, and their gradients) are computed; all
/// else is f32.
///
/// * exact: as f32, each sum one rounding per product.
/// * tf32: operands may be rounded to TF32 (8 bits of exponent, 10 of fraction) where the device
///   has such an instruction; sums are f32. The CPU computes as in exact, and so does attention.
/// * bf16: operands are rounded once to bf16 (8 bits of exponent, 7 of fraction), and so is what is
///   kept for gradients and what lies between two products, also where the gradient of a bias adds
///   it up; on tensor cores also the weights and slopes of scores inside attention. Sums, results
///   that are read otherwise, gradients of parameters, parameters and optimizers stay f32:
///   parameters keep changes that bf16 could not.
/// * f16: the same with f16 (5 bits of exponent, 10 of fraction). What is above 65504, as
///   exp(11.1), becomes infinite and what is below 6e-8 becomes 0, so scale gradients by LossScale;
///   fit does not do that by itself.
///
/// The CPU multiplies f32 copies of halves, so bf16 and f16 are no faster there. What is rounded
/// depends on who reads a value: another output may change last bits of the others. Programs of one
/// mode have equal bits for every number of threads and instruction set, as always.
/// Source: Micikevicius et al. 2018, "Mixed precision training"; Kalamkar et al. 2019.
enum class MathMode : std::uint8_t { exact, tf32, bf16, f16 };

/// "exact", "tf32", "bf16" or "f16".
std::string_view name(MathMode mode);
/// The mode of that name. Throws Error for another one.
MathMode math_mode(std::string_view name);

struct CompileOptions {
  std::vector<std::string> skip = {};   // passes to leave out
  std::vector<std::string> print = {};  // passes to print the graph after
  // 0: all that this process may use. Where steps below 0.2 ms are faster on one, they run on one,
  // unless BLOCKGRAD_SHARING=always.
  int threads = 0;
  std::string isa = {};  // "avx512", "avx2", "portable", …; empty: the best, or BLOCKGRAD_ISA
  MathMode math = MathMode::exact;
  // Arithmetic on a CPU may take numbers below the least normal one (f32: 1.2e-38) for 0, operands
  // and results. Vanishing gradients are such numbers; products of them take a hundred times as
  // long on many processors. A GPU keeps them.
  bool flush_subnormals = false;
  bool reuse_memory = true;
  bool branches = true;  // CUDA: nodes that need not wait for each other may run side by side
  std::int64_t memory_limit = 0;  // most bytes of Report::peak_bytes; 0: any. See compile
  bool check_gradients = false;  // compile checks every op against central differences, see compile
  bool check_numerics = false;   // see Program::run; costs a look at every value that is made
};

/// One value of a leaf for a run; the tensor is read, not copied.
struct Feed {
  Expr leaf;
  Tensor value;
};
using Feeds = std::vector<Feed>;

/// What a program gives back: an Expr, or a Loss, read as its mean.
class Output {
 public:
  Output(const Expr& expr) : expr_(expr) {}
  Output(const Loss& loss, SourceLoc where = SourceLoc::here()) : expr_(mean(loss, where)) {}
  const Expr& expr() const { return expr_; }

 private:
  Expr expr_;
};

/// Ends a run after the current step, on CUDA those underway. Setting it is async-signal-safe.
class StopToken {
 public:
  void request_stop() noexcept { stop_.store(true, std::memory_order_relaxed); }
  void reset() noexcept { stop_.store(false, std::memory_order_relaxed); }
  bool stop_requested() const noexcept { return stop_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> stop_{false};
  static_assert(std::atomic<bool>::is_always_lock_free);
};

struct NodeReport {
  std::string node;    // op, scope, line
  std::string kernel;  // what runs and why: block plans of products, chunks of maps
  double flops = 0;
  double bytes = 0;
  double seconds = 0;           // of the median run, once profiled
  double roof = 0;              // share reached of what the machine can do for these FLOP and bytes
  bool met_subnormals = false;  // in arithmetic of the profiled runs; only x86-64 CPUs tell
};

/// Known before the first run.
struct Report {
  std::string device;               // what runs it: "cpu, avx2, 2 threads"
  MathMode math = MathMode::exact;  // how it was asked to multiply
  bool flushes_subnormals = false;  // whether they count as 0, see CompileOptions
  std::int64_t peak_bytes = 0;      // arena, scratch of all threads, and storage
  std::int64_t arena_bytes = 0;
  std::int64_t live_bytes = 0;     // the most that values need at one time; no arena can be smaller
  std::int64_t reused_bytes = 0;   // saved by giving memory to several values
  std::int64_t storage_bytes = 0;  // parameters and states
  std::int64_t kernels = 0;
  std::int64_t longest_chain = 0;  // of kernels that wait for each other; 0: they all do
  double flops = 0;                // of one step
  double bytes = 0;                // moved by one step
  double compile_seconds = 0;
  int profiled_runs = 0;
  double roof_flops = 0, roof_bytes = 0;  // per second: f32 fma on all threads; copies in memory
  double touch_seconds = 0;               // of these, for the first touch of arena and scratch
  std::vector<NodeReport> nodes;          // in order of running, updates last
  std::vector<std::string> passes;
  std::vector<std::string> recomputed;             // nodes that run again, for memory_limit
  std::int64_t gradients_checked = 0;              // ops, with check_gradients
  std::vector<std::string> gradients_not_checked;  // ops that refused the inputs drawn, and why
};

/// The outputs of the last step of a run. Reading them after a later run throws Error.
class Results {
 public:
  /// Output i as a number. Throws Error if it has more than one element.
  double number(int i) const;
  /// A copy of output i.
  Tensor tensor(int i) const;
  /// Steps done; fewer than asked for after a stop.
  std::int64_t steps() const { return steps_; }

 private:
  friend class Program;
  Results(std::shared_ptr<const detail::ProgramState> state, std::uint64_t run, std::int64_t steps)
      : state_(std::move(state)), run_(run), steps_(steps) {}
  const Operand& readable(int i) const;
  std::shared_ptr<const detail::ProgramState> state_;
  std::uint64_t run_ = 0;
  std::int64_t steps_ = 0;
};

/// A Program that was moved from throws Error, whatever it is asked.
class Program {
 public:
  /// One step. An input that the program does not read may be fed all the same. Throws Error if a
  /// feed is missing, named twice, of another type or not of an input, if the step finds an index
  /// out of range (it then updates nothing), or if storage is in use by another program.
  ///
  /// With check_numerics, a step that makes a NaN out of numbers, or an infinity out of finite
  /// values, throws Error and updates nothing. The Error names the first such node, forward or
  /// backward, with its line and scope and its inputs' ranges; for that the step is run a second
  /// time, unfused, from the same stored values. Infinities and NaN that a formula or a constant
  /// has in it (a mask of -inf) are taken as meant until they reach an output or a new value.
  Results run(std::initializer_list<Feed> feeds = {}) {
    return run(std::span(feeds.begin(), feeds.size()));
  }
  Results run(std::span<const Feed> feeds);

  /// n steps; step i reads feeds[i mod feeds.size()]. Equal, bit for bit, to n calls of run.
  Results run_many(std::int64_t n, std::span<const Feeds> feeds = {},
                   const StopToken* stop = nullptr);
  Results run_many(std::int64_t n, std::initializer_list<Feeds> feeds) {
    return run_many(n, std::span(feeds.begin(), feeds.size()));
  }

  const Report& report() const;
  /// Runs the step so often with a clock around every kernel, and puts what it updates back as it
  /// was; from then on the report has times. The first call also measures what the machine can do,
  /// which takes some 50 ms.
  const Report& profile(std::span<const Feed> feeds, int runs = 20);
  const Report& profile(std::initializer_list<Feed> feeds = {}, int runs = 20) {
    return profile(std::span(feeds.begin(), feeds.size()), runs);
  }
  /// The program as a text to read: where the memory goes and which line needs most of it, copies
  /// made for other layouts, what was fused and why not more, and a table of all kernels with op,
  /// line, shape, FLOP, bytes and how they work (the block plans of products); after profile() with
  /// times, the longest first.
  std::string explain() const;
  /// The compiled graph, one line per node.
  std::string to_text() const;
  /// The compiled graph for Graphviz.
  std::string to_dot() const;

 private:
  friend Program compile(std::span<const Output>, const Updates&, const Device&,
                         const CompileOptions&, SourceLoc);
  explicit Program(std::shared_ptr<detail::ProgramState> state) : state_(std::move(state)) {}
  detail::ProgramState& state() const;
  std::shared_ptr<detail::ProgramState> state_;
};

/// Fixes kernels, block plans and memory for these outputs and updates. Throws Error if two inputs,
/// or two storages, have one name, or if a node has no kernel on the device.
///
/// With memory_limit, values that are cheap to make for the bytes they take are let go of and made
/// again where they are read next, with equal bits, until the program fits. Throws Error, naming
/// the least limit that would do and the line that sets it, if it never does.
///
/// With check_gradients, every op that the outputs and updates are made of is first run alone, at
/// random inputs of its shapes (f64 where it takes that), and its gradient by each input compared
/// with central differences along a random direction. Throws Error that lists all wrong and missing
/// ones with their lines. stop_gradient and custom_gradient are left out. For tests: it takes far
/// longer than compiling.
Program compile(std::span<const Output> outputs, const Updates& updates, const Device& device,
                const CompileOptions& options = {}, SourceLoc where = SourceLoc::here());
inline Program compile(std::initializer_list<Output> outputs, const Updates& updates = {},
                       const Device& device = cpu(), const CompileOptions& options = {},
                       SourceLoc where = SourceLoc::here()) {
  return compile(std::span(outputs.begin(), outputs.size()), updates, device, options, where);
}

/// The value of an expression, computed once: for tests, examples and small questions.
Tensor evaluate(const Expr& expr, std::span<const Feed> feeds = {},
                const CompileOptions& options = {}, SourceLoc where = SourceLoc::here());
inline Tensor evaluate(const Expr& expr, std::initializer_list<Feed> feeds,
                       const CompileOptions& options = {}, SourceLoc where = SourceLoc::here()) {
  return evaluate(expr, std::span(feeds.begin(), feeds.size()), options, where);
}

/// The graph of expressions as the user wrote it, for Graphviz, without gradients and passes.
std::string to_dot(std::span<const Output> outputs);

}  // namespace blockgrad
