// check_numerics on a CUDA device: each floating result of a step is looked at. Updates are made
// beside storage, so that what a guard holds back is seen too. If one is not finite, storage is put
// back, and the CPU runs the same step until it finds who made it.
#include <fmt/format.h>

#include <algorithm>

#include "backends/cuda/cuda_executable.h"
#include "backends/cuda/maps/emit.h"

namespace blockgrad {

namespace {

/// Sets flags[number] where a value is NaN or infinite: KERNEL(n, x, flags, number).
CudaLaunch watching(const Operand& value, std::int64_t number) {
  using Kind = CudaArg::Kind;
  const std::int64_t n = value.layout.shape.size();
  CudaLaunch launch;
  launch.text = {fmt::format("\nnamespace blockgrad {{\n"
                             "extern \"C\" __global__ void KERNEL(long n, const {}* x, "
                             "long* flags, long number) {{\n"
                             "  const long step = static_cast<long>(gridDim.x) * blockDim.x;\n"
                             "  for (long i = static_cast<long>(blockIdx.x) * blockDim.x + "
                             "threadIdx.x; i < n; i += step)\n"
                             "    if (!row::isfinite(x[i])) flags[number] = 1;\n"
                             "}}\n}}  // namespace blockgrad\n",
                             cuda_type(value.dtype)),
                 {},
                 "watch"};
  launch.blocks = std::clamp<std::int64_t>((n + 1023) / 1024, 1, 2048);
  launch.args = {{Kind::number, 0, n}, {Kind::output}, {Kind::table}, {Kind::number, 0, number}};
  return launch;
}

}  // namespace

// What follows a node may take the bytes of its results, so each is looked at right behind it.
void CudaExecutable::prepare_watch() {
  std::size_t item = 0;
  for (const auto* phase : {&plan_.steps, &plan_.updates}) {
    for (const PlanStep& step : *phase) {
      for (const Operand& value : step.outputs) {
        // What lies in columns is looked at where they are joined.
        if (!is_floating(value.dtype) || !value.layout.is_dense() || value.layout.shape.size() == 0)
          continue;
        PlanStep one = step;
        one.outputs = {value};
        const auto number = static_cast<std::int64_t>(watches_.size());
        watches_.push_back({launch_of(watching(value, number), one).call, item});
      }
      ++item;
    }
  }
  flags_ = runtime_->allocate(static_cast<std::int64_t>(watches_.size() * sizeof(std::int64_t)));
  for (Watch& watch : watches_) watch.call.args[2] = reinterpret_cast<std::uint64_t>(flags_.get());
  for (std::size_t s = 0; s < storages_.size(); ++s) {
    kept_.push_back(plan_.is_updated[s] ? runtime_->allocate(copies_[s]->bytes()) : nullptr);
  }
}

void CudaExecutable::run_watched_step(std::span<const std::byte* const> feeds, std::int64_t step) {
  for (std::size_t s = 0; s < kept_.size(); ++s) {
    if (kept_[s]) runtime_->copy_within(kept_[s].get(), copies_[s]->memory(), copies_[s]->bytes());
  }
  while (!start_watched(step)) {
    for (std::size_t s = 0; s < kept_.size(); ++s) {
      if (kept_[s])
        runtime_->copy_within(copies_[s]->memory(), kept_[s].get(), copies_[s]->bytes());
    }
    examine_(feeds, step);
    leave_storage();    // which it has brought home
    recorded_.clear();  // such values are meant: what made them is not watched any more
  }
}

// True if what is watched is finite.
bool CudaExecutable::start_watched(std::int64_t step) {
  std::vector<std::int64_t> flags(watches_.size(), 0);
  const auto bytes = static_cast<std::int64_t>(flags.size() * sizeof(std::int64_t));
  runtime_->copy_in(flags_.get(), reinterpret_cast<const std::byte*>(flags.data()), bytes);
  CudaState state;
  state.step = step;
  runtime_->copy_in(state_.get(), reinterpret_cast<const std::byte*>(&state), sizeof state);
  recorded({}).start();
  if (may_fail_) check_state();
  runtime_->copy_out(reinterpret_cast<std::byte*>(flags.data()), flags_.get(), bytes);
  bool is_finite = true;
  for (std::size_t w = 0; w < flags.size(); ++w) {
    if (flags[w] == 0) continue;
    is_finite = false;
    watches_[w].is_on = false;
  }
  return is_finite;
}

}  // namespace blockgrad
