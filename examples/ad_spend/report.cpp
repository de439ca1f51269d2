#include "ad_spend/report.h"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "support/number.h"
#include "support/table.h"

namespace ad_spend {

using namespace blockgrad;
using examples::number;

namespace {

using Json = nlohmann::ordered_json;

const char* end_of(const Outcome& outcome) {
  switch (outcome.fit.end) {
    case train::FitEnd::converged: return "converged";
    case train::FitEnd::stopped: return "stopped";
    case train::FitEnd::all_epochs: return "all epochs";
  }
  return "";
}

std::string joined(std::span<const std::string> names, const char* between) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : between) + name;
  return text;
}

/// JSON has no NaN and no infinity.
Json finite(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

void print_predictions(const Problem& problem, const Options& options,
                       std::span<const Outcome> outcomes) {
  if (options.predict.empty()) return;
  std::string where;
  for (std::size_t j = 0; j < options.predict.size(); ++j) {
    where += (j == 0 ? "" : ", ") + problem.input_names[j] + " = " + number(options.predict[j], 15);
  }
  std::printf("For %s the predicted %s is\n", where.c_str(), problem.target_name.c_str());
  for (const Outcome& outcome : outcomes) {
    std::printf("  %-12s %s\n", outcome.plan.strategy.c_str(),
                number(predict(outcome.model, options.predict), 10).c_str());
  }
  std::printf("\n");
}

}  // namespace

void print_plans(const Problem& problem, const Options& options, std::span<const Plan> plans) {
  const std::string inputs = joined(problem.input_names, ", ");
  std::printf("%s: %lld rows. Learning %s from %s, %s, inputs %s, %s.\n", options.data.c_str(),
              static_cast<long long>(problem.row_count()), problem.target_name.c_str(),
              inputs.c_str(), problem.has_intercept ? "with an intercept" : "without an intercept",
              options.standardize ? "standardized" : "as they are", options.dtype.c_str());
  for (const Plan& plan : plans) {
    std::printf("  %-12s %lld of %lld rows an update, learning rate %s%s%s\n",
                plan.strategy.c_str(), static_cast<long long>(plan.batch_size),
                static_cast<long long>(problem.row_count()), number(plan.learning_rate).c_str(),
                options.learning_rate ? "" : " (from the data)",
                plan.rate_falls ? ", falling from half the epochs on" : "");
  }
  std::printf("\n");
  std::fflush(stdout);
}

void print_results(const Problem& problem, const Options& options,
                   std::span<const Outcome> outcomes) {
  std::vector<std::string> heads{"strategy", "batch size", "updates",
                                 "epochs",   "final loss", "seconds"};
  if (problem.has_intercept) heads.push_back("intercept");
  heads.insert(heads.end(), problem.input_names.begin(), problem.input_names.end());
  heads.push_back("ended");
  examples::Table table(heads);
  for (const Outcome& outcome : outcomes) {
    std::vector<std::string> cells{outcome.plan.strategy,
                                   std::to_string(outcome.plan.batch_size),
                                   std::to_string(outcome.fit.updates),
                                   std::to_string(outcome.fit.epochs),
                                   number(outcome.loss, 4),
                                   examples::decimals(outcome.fit.seconds, 4)};
    if (problem.has_intercept) cells.push_back(number(outcome.model.intercept, 7));
    for (const double coefficient : outcome.model.coefficients)
      cells.push_back(number(coefficient, 7));
    cells.push_back(end_of(outcome));
    table.add(cells);
  }
  std::printf("%s\nWeights are in the data's own units; the loss is the mean squared error.\n\n",
              table.to_string().c_str());
  print_predictions(problem, options, outcomes);
  std::printf(
      "Which one when?\n"
      "  stochastic  rows that arrive one by one, or far too many to read often: learns from each "
      "at once,\n"
      "              but jumps about; the rate must fall for it to settle\n"
      "  mini-batch  the usual choice: most of the noise is gone, and a batch of 32 to 512 rows "
      "keeps\n"
      "              the processor's lanes and cores busy\n"
      "  batch       a table that fits in memory, and an answer to the last digit: smooth steps, "
      "but\n"
      "              every one of them reads all rows\n\n");
}

std::string report_text(const Problem& problem, const Options& options,
                        std::span<const Outcome> outcomes) {
  Json report = Json::array();
  for (const Outcome& outcome : outcomes) {
    Json coefficients = Json::object();
    for (std::size_t j = 0; j < problem.input_names.size(); ++j) {
      coefficients[problem.input_names[j]] = finite(outcome.model.coefficients[j]);
    }
    Json entry{{"strategy", outcome.plan.strategy},
               {"intercept", finite(outcome.model.intercept)},
               {"coefficients", coefficients},
               {"rmse", finite(outcome.quality.rmse)},
               {"r2", finite(outcome.quality.r2)},
               {"epochs", outcome.fit.epochs},
               {"updates", outcome.fit.updates},
               {"seconds", outcome.fit.seconds},
               {"ended", end_of(outcome)},
               {"rows", problem.row_count()},
               {"target", problem.target_name},
               {"batch_size", outcome.plan.batch_size},
               {"learning_rate", outcome.plan.learning_rate},
               {"momentum", options.momentum},
               {"dtype", options.dtype},
               {"seed", options.seed},
               {"loss", finite(outcome.loss)}};
    if (!options.predict.empty())
      entry["prediction"] = finite(predict(outcome.model, options.predict));
    report.push_back(std::move(entry));
  }
  return report.dump(2) + "\n";
}

void write_weights(const std::string& path, const Problem& problem,
                   std::span<const Outcome> outcomes) {
  const auto columns = static_cast<std::int64_t>(problem.input_names.size());
  std::vector<Expr> leaves;
  for (const Outcome& outcome : outcomes) {
    leaves.insert(leaves.end(), outcome.parameters.begin(), outcome.parameters.end());
  }
  leaves.push_back(
      state(tensor(std::span<const double>(problem.scaling.mean), {columns}), "inputs.mean"));
  leaves.push_back(
      state(tensor(std::span<const double>(problem.scaling.scale), {columns}), "inputs.scale"));
  train::save(path, leaves);
}

}  // namespace ad_spend
