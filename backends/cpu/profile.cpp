// Times of a step's kernels, and how close they come to what the machine can do.
#include <algorithm>
#include <chrono>
#include <cstring>

#include "backends/cpu/cpu_executable.h"
#include "backends/cpu/subnormals.h"

namespace blockgrad {

void CpuExecutable::profile(std::span<const std::byte* const> feeds, int runs, Report& report) {
  using Clock = std::chrono::steady_clock;
  const SubnormalMode mode(flushes_subnormals_);
  for (const auto& storage : storages_) storage->bring_home();
  if (!roof_) roof_ = measure_roof(isa_, uses_threads_ ? threads_ : 1);
  bind(feeds);
  const std::size_t kernels = steps_.size() + updates_.size() + copies_.size();
  check_internal(report.nodes.size() == kernels, "a report of ", report.nodes.size(),
                 " kernels for ", kernels);
  std::vector<std::vector<double>> times(kernels);
  for (NodeReport& node : report.nodes) node.met_subnormals = false;
  std::atomic<bool> met_subnormals{false};
  const auto do_kernel = [&](const Instruction& i) {
    execute(i, Watch::nothing, false, &met_subnormals);
  };
  for (int run = 0; run < runs; ++run) {
    std::size_t k = 0;
    const auto timed = [&](auto&& work) {
      const SubnormalWatch watch;
      met_subnormals = false;
      const auto start = Clock::now();
      work();
      times[k].push_back(std::chrono::duration<double>(Clock::now() - start).count());
      if (watch.met() || met_subnormals) report.nodes[k].met_subnormals = true;
      ++k;
    };
    for (const Instruction& i : steps_) {
      timed([&] { do_kernel(i); });
      if (errors_.is_set()) fail_step(i, run);
    }
    for (const Instruction& i : updates_) {
      timed([&] {
        if (holds(i.guard)) do_kernel(i);
      });
    }
    for (const Copy& copy : copies_) {
      timed([&] {
        if (holds(copy.guard)) std::memcpy(copy.to, copy.from, copy.bytes);
      });
    }
  }
  for (std::size_t k = 0; k < kernels; ++k) {
    std::nth_element(times[k].begin(), times[k].begin() + runs / 2, times[k].end());
    NodeReport& node = report.nodes[k];
    node.seconds = times[k][static_cast<std::size_t>(runs / 2)];
    const Instruction* i = k < steps_.size()                     ? &steps_[k]
                           : k < steps_.size() + updates_.size() ? &updates_[k - steps_.size()]
                                                                 : nullptr;
    const DType dtype = i && !i->results.empty() ? i->results[0].first : DType::f32;
    node.roof = roof_->seconds({node.flops, node.bytes}, dtype) / std::max(node.seconds, 1e-9);
  }
  report.profiled_runs = runs;
  report.roof_flops = roof_->flops32;
  report.roof_bytes = roof_->bytes_per_second.back().second;
}

}  // namespace blockgrad
