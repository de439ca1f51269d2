#pragma once
// Schedules: settings that follow the number of updates. A schedule is an Expr of the step counter,
// so it runs inside run_many and goes on where a loaded counter stands:
// `optimizer.learning_rate = cosine_schedule(0.1, 0, 1000)`.

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "blockgrad/graph/expr.h"

namespace blockgrad {

/// A number as a function of the step: the updates done before this one, an f64 scalar from 0 on,
/// gives an f64 scalar. A user's own is a lambda: `Schedule{[](const Expr& step) { … }}`.
struct Schedule {
  std::function<Expr(const Expr& step)> at;
};

/// Steps are counted from 0. All throw Error for a number that is not finite, for a length below 1,
/// and for a factor that is not above 0.

/// The same value at every step.
Schedule constant_schedule(double value);
/// start * factor^floor(step / every).
Schedule step_schedule(double start, std::int64_t every, double factor);
/// start * factor^step.
Schedule exponential_schedule(double start, double factor);
/// end + (start - end) * (1 - min(step, steps) / steps)^power.
Schedule polynomial_schedule(double start, double end, std::int64_t steps, double power = 1);
/// end + (start - end) * (1 + cos(pi * min(step, steps) / steps)) / 2 (Loshchilov and Hutter 2017).
Schedule cosine_schedule(double start, double end, std::int64_t steps);
/// peak * min(1, (step + 1) / steps): the first update has peak / steps.
Schedule linear_warmup(double peak, std::int64_t steps);
/// peak * min((step + 1) / warmup, sqrt(warmup / (step + 1))) (Vaswani et al. 2017, section 5.3).
Schedule inverse_sqrt_schedule(double peak, std::int64_t warmup);

struct OneCycle {
  double rise = 0.3;      // share of the steps that rise
  double start_div = 25;  // the first step has peak / start_div
  double end_div = 1e4;   // the last one has peak / start_div / end_div
};
/// Rises to `peak` and falls along half cosines, PyTorch's OneCycleLR (Smith and Topin 2019): from
/// peak / start_div at step 0 to peak at step rise * steps - 1, to the end at step steps - 1; then
/// constant. Throws Error unless both parts have a length and the divisors are above 0.
Schedule one_cycle_schedule(double peak, std::int64_t steps, OneCycle shape = {});

/// Each schedule for its number of steps, counting its own from 0, then `last`.
Schedule join_schedules(std::vector<std::pair<std::int64_t, Schedule>> parts, Schedule last);

}  // namespace blockgrad
