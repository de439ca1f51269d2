#include "blockgrad/optim/schedules.h"

#include <cmath>
#include <numbers>

#include "blockgrad/ops/elementwise.h"

namespace blockgrad {

namespace {

void require_finite(std::string_view schedule, std::string_view name, double value) {
  require(std::isfinite(value), schedule, ": ", name, " must be finite, got ", value);
}

void require_length(std::string_view schedule, std::string_view name, std::int64_t steps) {
  require(steps >= 1, schedule, ": ", name, " must be at least 1, got ", steps);
}

void require_factor(std::string_view schedule, std::string_view name, double value) {
  require_finite(schedule, name, value);
  require(value > 0, schedule, ": ", name, " must be above 0, got ", value);
}

// A schedule from a formula of the step.
template <class Formula>
Schedule of(std::string_view name, Formula formula) {
  return {[name, formula](const Expr& step) {
    return map(name, {step}, [&](std::span<const Scalar> s) -> Scalar { return formula(s[0]); });
  }};
}

// From a to b along half a cosine, x in [0, 1].
Scalar half_cosine(double a, double b, Scalar x) {
  return b + (a - b) / 2 * (1 + cos(std::numbers::pi * x));
}

}  // namespace

Schedule constant_schedule(double value) {
  require_finite("constant_schedule", "value", value);
  return of("constant_schedule", [=](Scalar) { return Scalar(value); });
}

Schedule step_schedule(double start, std::int64_t every, double factor) {
  require_finite("step_schedule", "start", start);
  require_length("step_schedule", "every", every);
  require_factor("step_schedule", "factor", factor);
  return of("step_schedule", [=](Scalar step) {
    return start * exp(floor(step / static_cast<double>(every)) * std::log(factor));
  });
}

Schedule exponential_schedule(double start, double factor) {
  require_finite("exponential_schedule", "start", start);
  require_factor("exponential_schedule", "factor", factor);
  return of("exponential_schedule",
            [=](Scalar step) { return start * exp(step * std::log(factor)); });
}

Schedule polynomial_schedule(double start, double end, std::int64_t steps, double power) {
  require_finite("polynomial_schedule", "start", start);
  require_finite("polynomial_schedule", "end", end);
  require_length("polynomial_schedule", "steps", steps);
  require_factor("polynomial_schedule", "power", power);
  return of("polynomial_schedule", [=](Scalar step) {
    const auto all = static_cast<double>(steps);
    const Scalar rest = 1 - minimum(step, all) / all;
    // log(0) is -inf, and exp of that 0: the end.
    return end + (start - end) * (power == 1 ? rest : exp(power * log(rest)));
  });
}

Schedule cosine_schedule(double start, double end, std::int64_t steps) {
  require_finite("cosine_schedule", "start", start);
  require_finite("cosine_schedule", "end", end);
  require_length("cosine_schedule", "steps", steps);
  return of("cosine_schedule", [=](Scalar step) {
    const auto all = static_cast<double>(steps);
    return half_cosine(start, end, minimum(step, all) / all);
  });
}

Schedule linear_warmup(double peak, std::int64_t steps) {
  require_finite("linear_warmup", "peak", peak);
  require_length("linear_warmup", "steps", steps);
  return of("linear_warmup", [=](Scalar step) {
    return peak * minimum((step + 1) / static_cast<double>(steps), 1);
  });
}

Schedule inverse_sqrt_schedule(double peak, std::int64_t warmup) {
  require_finite("inverse_sqrt_schedule", "peak", peak);
  require_length("inverse_sqrt_schedule", "warmup", warmup);
  return of("inverse_sqrt_schedule", [=](Scalar step) {
    const auto up = static_cast<double>(warmup);
    return peak * minimum((step + 1) / up, sqrt(up / (step + 1)));
  });
}

Schedule one_cycle_schedule(double peak, std::int64_t steps, OneCycle shape) {
  const std::string_view name = "one_cycle_schedule";
  require_finite(name, "peak", peak);
  require_length(name, "steps", steps);
  require_factor(name, "start_div", shape.start_div);
  require_factor(name, "end_div", shape.end_div);
  const double top = shape.rise * static_cast<double>(steps) - 1;
  const double bottom = static_cast<double>(steps) - 1;
  require(top > 0 && top < bottom, name, ": the rise of ", shape.rise, " of ", steps,
          " steps leaves no step to rise or to fall");
  const double start = peak / shape.start_div, end = start / shape.end_div;
  return of(name, [=](Scalar step) {
    const Scalar rise = half_cosine(start, peak, step / top);
    const Scalar fall = half_cosine(peak, end, (minimum(step, bottom) - top) / (bottom - top));
    return where(step <= top, rise, fall);
  });
}

Schedule join_schedules(std::vector<std::pair<std::int64_t, Schedule>> parts, Schedule last) {
  for (const auto& [steps, part] : parts) {
    require_length("join_schedules", "the length of each part", steps);
    require(static_cast<bool>(part.at), "join_schedules: a schedule is empty");
  }
  require(static_cast<bool>(last.at), "join_schedules: a schedule is empty");
  return {[parts = std::move(parts), last = std::move(last)](const Expr& step) {
    double end = 0;
    for (const auto& [steps, part] : parts) end += static_cast<double>(steps);
    Expr value = last.at(step - end);
    for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
      const double start = end - static_cast<double>(part->first);
      value = where(step < end, part->second.at(step - start), value);
      end = start;
    }
    return value;
  }};
}

}  // namespace blockgrad
