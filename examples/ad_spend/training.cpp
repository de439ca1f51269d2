#include "ad_spend/training.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "ad_spend/falling_sgd.h"
#include "blockgrad/ops/linalg.h"
#include "blockgrad/optim/rules.h"
#include "support/number.h"
#include "support/progress.h"

namespace ad_spend {

using namespace blockgrad;

namespace {

constexpr double most_counted_in_f32 = 16'777'216;

data::LinearModel in_data_units(const Problem& problem, const Expr& weights,
                                const Expr& intercept) {
  data::LinearModel scaled;
  const Tensor values = weights.value();
  for (std::int64_t j = 0; j < values.size(); ++j) scaled.coefficients.push_back(values.at(j));
  if (intercept) scaled.intercept = intercept.value().at(0);
  return problem.scaling.in_data_units(scaled);
}

std::string progress_note(const train::Progress& progress) {
  std::string note =
      "epoch " + std::to_string(progress.epoch) + " of at most " + std::to_string(progress.epochs);
  if (std::isfinite(progress.loss)) note += ", loss " + examples::number(progress.loss);
  return note;
}

/// Two ways to train differ only in their recipe.
std::unique_ptr<Optimizer> make_optimizer(const Plan& plan, const Problem& problem,
                                          double momentum) {
  if (!plan.rate_falls) return std::make_unique<Optimizer>(Sgd{plan.learning_rate, momentum});
  const std::int64_t batches = (problem.row_count() + plan.batch_size - 1) / plan.batch_size;
  const double updates = static_cast<double>(plan.epochs) * static_cast<double>(batches);
  return std::make_unique<Optimizer>(FallingSgd{plan.learning_rate, momentum, updates});
}

}  // namespace

std::vector<Plan> make_plans(const Options& options, const Problem& problem) {
  const LearningRates rates(problem);
  const std::int64_t rows = problem.row_count();
  std::vector<Plan> plans;
  for (const char* const strategy : {"stochastic", "mini-batch", "batch"}) {
    if (options.strategy != "all" && options.strategy != strategy) continue;
    Plan plan{.strategy = strategy};
    if (plan.strategy == "stochastic") {
      plan.batch_size = 1;
    } else if (plan.strategy == "batch") {
      plan.batch_size = rows;
    } else {
      plan.batch_size = std::min(rows, options.batch_size.value_or(default_batch_size(rows)));
    }
    const std::int64_t updates_per_epoch = (rows + plan.batch_size - 1) / plan.batch_size;
    plan.epochs = options.epochs.value_or(default_epochs(updates_per_epoch));
    plan.tolerance = options.tolerance.value_or(default_tolerance(options.dtype));
    plan.learning_rate =
        options.learning_rate.value_or(rates.of(plan.batch_size, options.momentum));
    plan.rate_falls = plan.batch_size < rows;
    const double updates =
        static_cast<double>(plan.epochs) * static_cast<double>(updates_per_epoch);
    require(!plan.rate_falls || options.dtype == "f64" || updates <= most_counted_in_f32,
            plan.strategy, ": ", updates,
            " updates are more than f32 can count; use fewer --epochs, or --dtype f64");
    plans.push_back(plan);
  }
  return plans;
}

train::Model linear_model(const Expr& weights, const Expr& intercept) {
  return [weights, intercept](train::Inputs& rows) -> train::Outcome {
    const Expr y = linear(rows["inputs"], weights, intercept);  // [batch, 1]
    return mse_loss(y, rows["target"]);
  };
}

Outcome train(const Plan& plan, const Problem& problem, const Options& options,
              const StopToken& stop) {
  const DType dtype = problem.rows["inputs"].dtype();
  const auto columns = static_cast<std::int64_t>(problem.input_names.size());
  const Expr weights = parameter(zeros({columns, 1}, dtype), plan.strategy + ".weights");
  const Expr intercept =
      problem.has_intercept ? parameter(zeros({1}, dtype), plan.strategy + ".intercept") : Expr();
  const train::Model model = linear_model(weights, intercept);
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(plan, problem, options.momentum);

  Outcome outcome;
  outcome.plan = plan;
  const Device device = blockgrad::device(options.device);
  CompileOptions compile;
  compile.threads = options.threads;
  {
    examples::ProgressLine bar(plan.strategy);
    outcome.fit = train::fit(model, problem.rows, *optimizer,
                             {.epochs = plan.epochs,
                              .batch_size = plan.batch_size,
                              .seed = options.seed,
                              .tolerance = plan.tolerance,
                              .device = device,
                              .compile = compile,
                              .stop = &stop,
                              .on_progress = [&](const train::Progress& progress) {
                                const double part = static_cast<double>(progress.epoch) /
                                                    static_cast<double>(progress.epochs);
                                bar.show(part, progress_note(progress));
                              }});
  }
  outcome.model = in_data_units(problem, weights, intercept);
  outcome.quality = quality(outcome.model, problem);
  outcome.loss = train::evaluate(model, problem.rows, 0, device, compile).loss;
  outcome.parameters = {weights};
  if (intercept) outcome.parameters.push_back(intercept);
  return outcome;
}

}  // namespace ad_spend
