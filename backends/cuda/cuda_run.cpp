// Running a program on a CUDA device.
#include <algorithm>
#include <bit>
#include <chrono>

#include "backends/cuda/cuda_executable.h"
#include "backends/step_error.h"

namespace blockgrad {

void CudaExecutable::bind(std::span<const std::byte* const> feeds) {
  for (std::size_t f = 0; f < feeds_.size(); ++f) {
    const std::int32_t node = plan_.feeds[f];
    runtime_->copy_in(feeds_[f].get(), feeds[f],
                      bytes_of(graph_.nodes[static_cast<std::size_t>(node)].types[0]));
  }
}

void CudaExecutable::record_step() {
  step_ = runtime_->record([this] {
    for (std::size_t i = 0; i < items_.size(); ++i) {
      for (const CudaCall& call : items_[i].calls) runtime_->launch(call);
      for (const Watch& watch : watches_) {
        if (watch.is_on && watch.item == i) runtime_->launch(watch.call);
      }
    }
  });
}

void CudaExecutable::begin_run() {
  for (std::size_t s = 0; s < storages_.size(); ++s) copies_[s]->refresh(*storages_[s]);
  const CudaState fresh;
  runtime_->copy_in(state_.get(), reinterpret_cast<const std::byte*>(&fresh), sizeof fresh);
  leave_storage();
}

// The device alone has what a run updates, from before its first step on: whatever ends the run,
// all storage is of one step.
void CudaExecutable::leave_storage() {
  for (std::size_t s = 0; s < storages_.size(); ++s) {
    if (plan_.is_updated[s]) storages_[s]->set_away(copies_[s]);
  }
}

std::int64_t CudaExecutable::run(std::int64_t n, const FeedRing& feeds, const StopToken* stop) {
  begin_run();
  std::int64_t ring = 0, step = 0;
  for (; step < n; ++step) {
    if (stop && stop->stop_requested()) break;
    const auto own = feeds.of(ring);
    if (step == 0 || feeds.rings > 1) bind(own);
    if (feeds.rings > 1 && ++ring == feeds.rings) ring = 0;
    if (watches_.empty()) step_->start();
    else run_watched_step(own, step);
  }
  if (may_fail_) check_state();
  std::fill(outputs_.begin(), outputs_.end(), nullptr);
  return step;
}

void CudaExecutable::check_state() {
  CudaState state;
  runtime_->copy_out(reinterpret_cast<std::byte*>(&state), state_.get(), sizeof state);
  if (state.failed_step < 0) return;
  for (const Item& item : items_) {
    if (item.node != state.node || item.thing.empty()) continue;
    const Value input = graph_.nodes[static_cast<std::size_t>(item.node)].inputs[0];
    const Text value = is_floating(graph_.type(input).dtype)
                           ? Text(std::bit_cast<double>(state.value))
                           : Text(static_cast<std::int64_t>(state.value));
    fail_step(graph_, item.node, {item.thing, value, state.position, item.rule}, state.failed_step);
  }
  fail_internal({"a step failed at a node that checks nothing"});
}

void CudaExecutable::examine(std::span<const std::byte* const>, std::int64_t) {
  fail_internal({"values are examined on the CPU"});
}

void CudaExecutable::profile(std::span<const std::byte* const> feeds, int runs, Report& report) {
  using Clock = std::chrono::steady_clock;
  begin_run();
  bind(feeds);
  std::vector<std::vector<double>> times(items_.size());
  for (int run = 0; run < runs; ++run) {
    for (std::size_t i = 0; i < items_.size(); ++i) {
      runtime_->wait();
      const auto start = Clock::now();
      for (const CudaCall& call : items_[i].calls) runtime_->launch(call);
      runtime_->wait();
      times[i].push_back(std::chrono::duration<double>(Clock::now() - start).count());
    }
  }
  report.profiled_runs = runs;
  for (std::size_t i = 0; i < report.nodes.size(); ++i) {
    std::nth_element(times[i].begin(), times[i].begin() + runs / 2, times[i].end());
    report.nodes[i].seconds = times[i][static_cast<std::size_t>(runs) / 2];
  }
  if (may_fail_) check_state();
}

const std::byte* CudaExecutable::output(int i) const {
  auto& output = outputs_[static_cast<std::size_t>(i)];
  const Operand& operand = plan_.outputs[static_cast<std::size_t>(i)];
  if (!output) {
    const std::int64_t bytes = bytes_of(TensorType{operand.dtype, operand.layout.shape});
    auto memory = allocate_bytes(bytes);
    runtime_->copy_out(memory.get(), place(operand), bytes);
    output = std::move(memory);
  }
  return output.get();
}

void CudaExecutable::describe(Report& report) const {
  report.device = runtime_->title();
  report.peak_bytes += plan_.arena_bytes + own_bytes_;
  for (const Item& item : items_) {
    report.kernels += static_cast<std::int64_t>(item.calls.size());
    if (item.node < 0) continue;
    report.nodes.push_back({item.label, item.why, item.cost.flops, item.cost.bytes});
    report.flops += item.cost.flops;
    report.bytes += item.cost.bytes;
  }
}

}  // namespace blockgrad
