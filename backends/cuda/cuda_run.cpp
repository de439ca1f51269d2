// Running a program on a CUDA device.
#include <algorithm>
#include <bit>
#include <chrono>

#include "backends/cuda/cuda_executable.h"
#include "backends/step_error.h"

namespace blockgrad {

// To the first set.
void CudaExecutable::bind(std::span<const std::byte* const> feeds) {
  is_bound_ = true;
  for (std::size_t f = 0; f < plan_.feeds.size(); ++f) {
    const std::int32_t node = plan_.feeds[f];
    runtime_->copy_in(feeds_.get() + layout_.at[f], feeds[f],
                      bytes_of(graph_.nodes[static_cast<std::size_t>(node)].types[0]));
  }
}

void CudaExecutable::record(const Start& start) {
  std::vector<std::int32_t> points(items_.size()), after;
  auto sequence = runtime_->record([&] {
    for (std::int64_t step = 0; step < start.steps; ++step) {
      const std::int64_t set = start.set + (start.is_fed_each ? step : 0);
      const std::int32_t last_end = points.back();
      for (std::size_t i = 0; i < items_.size(); ++i) {
        if (!order_.empty()) {
          if (items_[i].launches.empty()) continue;
          after.clear();
          for (const std::int32_t before : order_[i])
            after.push_back(points[static_cast<std::size_t>(before)]);
          if (after.empty() && step > 0) after.push_back(last_end);
          runtime_->begin_after(after);
        }
        for (const Launch& launch : items_[i].launches) {
          CudaCall call = launch.call;
          for (std::size_t a = 0; a < call.args.size(); ++a)
            call.args[a] += static_cast<std::uint64_t>(set) * launch.strides[a];
          runtime_->launch(call);
        }
        if (!order_.empty()) points[i] = runtime_->recorded_point();
        for (const Watch& watch : watches_) {
          if (watch.is_on && watch.item == i) runtime_->launch(watch.call);
        }
      }
    }
  });
  recorded_.push_back({start, std::move(sequence)});
}

// Made when it is needed first: who runs step by step has no recording of many.
CudaSequence& CudaExecutable::recorded(const Start& start) {
  const auto find = [&] { return std::ranges::find(recorded_, start, &Recorded::start); };
  if (find() == recorded_.end()) record(start);
  return *find()->sequence;
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
  const std::int64_t steps =
      watches_.empty() ? run_steps(n, feeds, stop) : run_watched(n, feeds, stop);
  if (may_fail_) check_state();
  std::fill(outputs_.begin(), outputs_.end(), nullptr);
  return steps;
}

std::int64_t CudaExecutable::run_steps(std::int64_t n, const FeedRing& feeds,
                                       const StopToken* stop) {
  const bool is_fed_each = feeds.rings > 1 && layout_.set_bytes > 0;
  // What takes long is worth the calls it costs to copy it beside the steps before.
  constexpr std::int64_t large = std::int64_t{256} << 10;
  const bool goes_ahead = layout_.groups > 1 && (is_fed_each || layout_.set_bytes >= large);
  const std::int64_t together = !is_fed_each ? steps_together(launches_)
                                : goes_ahead ? layout_.group
                                             : 1;
  std::size_t group = 0;
  std::int64_t step = 0;
  while (step < n && !(stop && stop->stop_requested())) {
    const std::int64_t steps = n - step >= together ? together : 1;
    done_[next_done_]->wait();
    if (step == 0 || is_fed_each) {
      if (goes_ahead) group = upload(feeds, step, is_fed_each ? steps : 1);
      else bind(feeds.of(step % feeds.rings));
    }
    start({static_cast<std::int64_t>(group) * layout_.group, steps, is_fed_each && steps > 1});
    if (goes_ahead) read_[group]->set(CudaLine::work);
    step += steps;
  }
  return step;
}

std::int64_t CudaExecutable::run_watched(std::int64_t n, const FeedRing& feeds,
                                         const StopToken* stop) {
  std::int64_t step = 0;
  for (; step < n && !(stop && stop->stop_requested()); ++step) {
    const auto own = feeds.of(step % feeds.rings);
    if (step == 0 || feeds.rings > 1) bind(own);
    run_watched_step(own, step);
  }
  return step;
}

// To the next group, while steps run that read the other. Returns which.
std::size_t CudaExecutable::upload(const FeedRing& feeds, std::int64_t first, std::int64_t steps) {
  const std::size_t group = next_group_;
  if (group == 0 && is_bound_) {
    read_[0]->set(CudaLine::work);
    is_bound_ = false;
  }
  parts_.clear();
  for (std::int64_t i = 0; i < steps; ++i) {
    const auto own = feeds.of((first + i) % feeds.rings);
    const std::int64_t set = static_cast<std::int64_t>(group) * layout_.group + i;
    for (std::size_t f = 0; f < plan_.feeds.size(); ++f) {
      const std::int32_t node = plan_.feeds[f];
      parts_.push_back({own[f], set * layout_.set_bytes + layout_.at[f],
                        bytes_of(graph_.nodes[static_cast<std::size_t>(node)].types[0])});
    }
  }
  read_[group]->hold(CudaLine::ahead);
  runtime_->copy_ahead(feeds_.get(), parts_);
  fed_[group]->set(CudaLine::ahead);
  fed_[group]->hold(CudaLine::work);
  next_group_ = 1 - group;
  return group;
}

void CudaExecutable::start(const Start& start) {
  recorded(start).start();
  constexpr std::int64_t launches_between = 256;
  launches_since_ += start.steps * launches_;
  if (launches_since_ < launches_between) return;
  done_[next_done_]->set(CudaLine::work);
  next_done_ = (next_done_ + 1) % done_.size();
  launches_since_ = 0;
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
      for (const Launch& launch : items_[i].launches) runtime_->launch(launch.call);
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
  report.longest_chain = longest_chain_;
  for (const Item& item : items_) {
    report.kernels += static_cast<std::int64_t>(item.launches.size());
    if (item.node < 0) continue;
    report.nodes.push_back({item.label, item.why, item.cost.flops, item.cost.bytes});
    report.flops += item.cost.flops;
    report.bytes += item.cost.bytes;
  }
}

}  // namespace blockgrad
