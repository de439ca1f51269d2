#include "blockgrad/backends/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "backends/backend.h"
#include "backends/cpu/cpu_limits.h"
#include "backends/cpu/isa.h"
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/machine/cuda_device.h"
#include "backends/cuda/machine/findings.h"
#include "backends/cuda/machine/report.h"
#include "backends/cuda/machine/shared_library.h"
#include "backends/cuda/products/product_table.h"
#include "backends/program_state.h"
#include "blockgrad/graph/leaf.h"

namespace blockgrad {

using detail::ProgramState;

namespace {

class RunGuard {
 public:
  explicit RunGuard(ProgramState& state) : state_(state) {
    require(!state.is_running.exchange(true, std::memory_order_acquire),
            "the program is running in another thread; a Program runs in one thread at a time");
    for (; locked_ < state.storages.size(); ++locked_) {
      if (lock(locked_)) continue;
      const std::string busy = state.graph.describe(state.plan.storages[locked_]);
      release();
      fail({busy, " is in use by another program; one that updates it needs it alone"});
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

[[noreturn]] void fail_not_fed(const Expr& leaf, std::span<const Feed> feeds) {
  std::string hint;
  for (const Feed& feed : feeds) {
    if (leaf_name(feed.leaf) == leaf_name(leaf))
      hint = "; what is fed is another, " + describe(feed.leaf);
  }
  fail({describe(leaf), " is not fed", hint});
}

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
    if (!pointers[at]) fail_not_fed(state.feeds[at], feeds);
  }
}

Tensor copy_of(const TensorType& type, const std::byte* from) {
  auto copy = allocate_bytes(bytes_of(type));
  std::memcpy(copy.get(), from, static_cast<std::size_t>(bytes_of(type)));
  return adopt(type, std::move(copy));
}

// Storage that a program updates is as before when this goes.
class KeptStorage {
 public:
  explicit KeptStorage(const ProgramState& state) : state_(state) {
    for (std::size_t s = 0; s < state.storages.size(); ++s) {
      if (!state.plan.is_updated[s]) continue;
      state.storages[s]->bring_home();
      kept_.emplace_back(s, copy_of(state.storages[s]->type(), state.storages[s]->bytes()));
    }
  }
  ~KeptStorage() {
    for (const auto& [s, tensor] : kept_) state_.storages[s]->write(tensor);
  }
  KeptStorage(const KeptStorage&) = delete;
  KeptStorage& operator=(const KeptStorage&) = delete;

 private:
  const ProgramState& state_;
  std::vector<std::pair<std::size_t, Tensor>> kept_;
};

}  // namespace

Device cpu() { return device("cpu"); }

Device cuda() { return device("cuda"); }

Device best_device() { return cpu(); }

Device device(std::string_view name) {
  if (name != "cpu" && name != "cuda")
    throw DeviceError(join({"there is no device '", name, "'; there are cpu and cuda"}));
  if (name == "cuda") {
    const std::string why = why_unusable(cuda_findings());
    if (!why.empty()) throw DeviceError("cuda cannot be used: " + why);
    return make_device("cuda", cuda_backend(cuda_device()));
  }
  return make_device(std::string(name), cpu_backend());
}

Device make_device(std::string name, std::shared_ptr<const Backend> backend) {
  return {std::move(name), std::move(backend)};
}

const Backend& backend_of(const Device& device) { return *device.backend_; }

std::string device_report() {
  const Isa isa = best_isa();
  return fmt::format("cpu: {} thread{}, instruction set {}{}\ncuda: {}\n", available_threads(),
                     available_threads() == 1 ? "" : "s", isa_name(isa),
                     isa == Isa::portable ? " (slow: no AVX2 or AVX-512 here)" : "",
                     cuda_report(cuda_findings(), cuda_library_folders(), product_table_path()));
}

ProgramState& Program::state() const {
  require(state_ != nullptr, "this Program was moved from; it has nothing to run or tell");
  return *state_;
}

Results Program::run(std::span<const Feed> feeds) {
  ProgramState& state = this->state();
  const RunGuard guard(state);
  bind_feeds(state, feeds, state.pointers.data());
  ++state.run_number;
  const auto count = static_cast<std::int64_t>(state.feeds.size());
  state.executable->run(1, {state.pointers, count, 1}, nullptr);
  return {state_, state.run_number, 1};
}

Results Program::run_many(std::int64_t n, std::span<const Feeds> feeds, const StopToken* stop) {
  ProgramState& state = this->state();
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

const Operand& Results::readable(int i) const {
  require(state_ != nullptr, "these Results were moved from");
  const auto& outputs = state_->plan.outputs;
  require(i >= 0 && static_cast<std::size_t>(i) < outputs.size(), "there is no output ", i,
          "; the program has ", outputs.size(), ", counted from 0");
  require(state_->run_number == run_, "these results are of run ", static_cast<std::int64_t>(run_),
          ", but run ", static_cast<std::int64_t>(state_->run_number),
          " has replaced them; read results before the next run");
  require(steps_ > 0, "no step was run, so there is nothing to read");
  return outputs[static_cast<std::size_t>(i)];
}

Tensor Results::tensor(int i) const {
  const Operand& output = readable(i);
  return copy_of({output.dtype, output.layout.shape}, state_->executable->output(i));
}

double Results::number(int i) const {
  const Operand& output = readable(i);
  if (output.layout.shape.size() != 1) {
    fail({"output ", i, ", ", describe(state_->outputs[static_cast<std::size_t>(i)]),
          ", has shape ", output.layout.shape, "; read it with tensor(", i, ")"});
  }
  const std::byte* value = state_->executable->output(i);
  return visit(output.dtype, [&](auto zero) {
    return static_cast<double>(*reinterpret_cast<const decltype(zero)*>(value));
  });
}

const Report& Program::report() const { return state().report; }

const Report& Program::profile(std::span<const Feed> feeds, int runs) {
  ProgramState& state = this->state();
  require(runs >= 1, "profile wants a number of runs, at least 1, got ", runs);
  const RunGuard guard(state);
  bind_feeds(state, feeds, state.pointers.data());
  ++state.run_number;
  const KeptStorage kept(state);
  state.executable->profile({state.pointers.data(), state.feeds.size()}, runs, state.report);
  return state.report;
}

std::string Program::explain() const { return blockgrad::explain(state()); }

std::string Program::to_text() const { return blockgrad::to_text(state().graph); }
std::string Program::to_dot() const { return blockgrad::to_dot(state().graph); }

Tensor evaluate(const Expr& expr, std::span<const Feed> feeds, const CompileOptions& options,
                SourceLoc where) {
  require(static_cast<bool>(expr), "evaluate at ", to_string(where),
          ": an empty Expr has no value");
  const Output outputs[] = {expr};
  Program program = compile(outputs, {}, cpu(), options, where);
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
