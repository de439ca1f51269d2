#include "kernels/kernel_times.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

namespace bench {

namespace bg = blockgrad;

namespace {

/// So many calls as one step, and a number that is read to wait for the device.
struct Step {
  std::vector<KernelCall> calls;
  bg::Program program;
  int waits = 0;  // the output that is read

  void wait(const bg::Results& results) const { (void)results.number(waits); }
};

Step step_of(const KernelRow& row, int calls, const bg::Device& device, const bg::Device& fill_on) {
  Drawn drawn;
  std::vector<KernelCall> made;
  std::vector<bg::Output> outputs;
  bg::Updates updates;
  for (int i = 0; i < calls; ++i) {
    made.push_back(row.make(drawn));
    for (const bg::Expr& result : made.back().results) outputs.emplace_back(result);
    for (const bg::Update& update : made.back().updates.all())
      updates.set(update.leaf, update.value, update.guard);
  }
  const int waits = static_cast<int>(outputs.size());
  outputs.emplace_back(bg::state(bg::zeros({}), "waited_for"));
  drawn.fill(fill_on);
  return {std::move(made), bg::compile(outputs, updates, device, {.math = row.math}), waits};
}

double seconds_of(const Step& step, bg::Program& program, std::int64_t steps) {
  const auto start = std::chrono::steady_clock::now();
  step.wait(program.run_many(steps));
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

KernelTimes times_of(const KernelRow& row, const bg::Device& device,
                     const KernelTimesOptions& options) {
  constexpr double most_calls = 16;
  KernelTimes times;
  times.calls = static_cast<int>(
      std::clamp(std::ceil(options.rotated_bytes / std::max(row.bytes, 1.0)), 1.0, most_calls));
  times.repetitions = options.repetitions;
  Step step = step_of(row, times.calls, device, device);
  for (const bg::NodeReport& node : step.program.report().nodes) {
    if (times.kernels.empty()) times.kernels = node.node + ": " + node.kernel;
  }
  seconds_of(step, step.program, 1);
  const double once = std::max(seconds_of(step, step.program, 2) / 2, 1e-9);
  times.steps = static_cast<std::int64_t>(
      std::clamp(std::ceil(options.milliseconds * 1e-3 / once), 1.0, 10000.0));
  seconds_of(step, step.program, times.steps);  // clocks have settled then
  std::vector<double> each;
  for (int i = 0; i < options.repetitions; ++i) {
    each.push_back(seconds_of(step, step.program, times.steps) /
                   static_cast<double>(times.steps * times.calls));
  }
  times.seconds = spread_of(std::move(each));
  return times;
}

std::vector<bg::Tensor> values_of(const KernelRow& row, const bg::Device& device,
                                  const bg::Device& fill_on) {
  Step step = step_of(row, 1, device, fill_on);
  const bg::Results results = step.program.run();
  std::vector<bg::Tensor> values;
  for (int i = 0; i < step.waits; ++i) values.push_back(results.tensor(i));
  for (const bg::Expr& leaf : step.calls[0].written) values.push_back(leaf.value());
  return values;
}

double off_by(const std::vector<bg::Tensor>& got, const std::vector<bg::Tensor>& expected) {
  constexpr double infinite = std::numeric_limits<double>::infinity();
  if (got.size() != expected.size()) return infinite;
  double off = 0;
  for (std::size_t t = 0; t < got.size(); ++t) {
    if (got[t].type() != expected[t].type()) return infinite;
    double scale = 1, worst = 0;
    for (std::int64_t i = 0; i < got[t].size(); ++i) {
      const double a = got[t].at(i), b = expected[t].at(i);
      if (!std::isfinite(a) || !std::isfinite(b)) return infinite;
      scale = std::max(scale, std::abs(b));
      worst = std::max(worst, std::abs(a - b));
    }
    off = std::max(off, worst / scale);
  }
  return off;
}

double off_at_most(const KernelRow& row) {
  if (row.math != bg::MathMode::exact) return 0.03;
  return bg::is_half(row.dtype) ? 0.02 : 2e-5;
}

}  // namespace bench
