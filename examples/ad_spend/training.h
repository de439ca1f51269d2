#pragma once
// Training by one strategy, and what came of it.

#include <string>
#include <vector>

#include "ad_spend/learning_rates.h"
#include "ad_spend/options.h"
#include "ad_spend/problem.h"
#include "blockgrad/train/fit.h"

namespace ad_spend {

/// What a run of one strategy is to do.
struct Plan {
  std::string strategy;
  std::int64_t batch_size = 0;
  std::int64_t epochs = 0;
  double tolerance = 0;
  double learning_rate = 0;
  bool rate_falls = false;  // FallingSgd instead of Sgd
};

/// The plans of the chosen strategies, defaults filled in. Throws Error if an optimizer cannot
/// count that far.
std::vector<Plan> make_plans(const Options& options, const Problem& problem);

struct Outcome {
  Plan plan;
  blockgrad::data::LinearModel model;  // in the data's units
  Quality quality;
  double loss = 0;  // mean squared error of all rows after training, by the engine
  blockgrad::train::FitResult fit;
  std::vector<blockgrad::Expr>
      parameters;  // "batch.weights" [inputs, 1], then "batch.intercept" [1]

  bool was_stopped() const { return fit.end == blockgrad::train::FitEnd::stopped; }
};

/// The linear model with its squared loss; an empty intercept is left out.
blockgrad::train::Model linear_model(const blockgrad::Expr& weights,
                                     const blockgrad::Expr& intercept);

/// Trains from weights 0 with a progress bar. Throws Error, DivergenceError included; ends early if
/// `stop` is asked.
Outcome train(const Plan& plan, const Problem& problem, const Options& options,
              const blockgrad::StopToken& stop);

}  // namespace ad_spend
