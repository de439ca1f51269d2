#include "ad_spend/problem.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "blockgrad/data/readers.h"

namespace ad_spend {

namespace {

using namespace blockgrad;

std::string choose_target(const data::Table& table, const Options& options) {
  if (!options.target.empty()) return options.target;
  const std::string& last = table.names().back();
  require(!last.empty(), options.data, ": the last column has no name; choose one with --target");
  return last;
}

std::vector<std::string> choose_inputs(const data::Table& table, const Options& options,
                                       const std::string& target) {
  std::vector<std::string> names = options.inputs;
  if (names.empty()) {
    for (const std::string& name : table.names()) {
      if (!name.empty() && name != target) names.push_back(name);
    }
  }
  require(!names.empty(), options.data, ": no column besides the target '", target,
          "' to learn from");
  require(std::find(names.begin(), names.end(), target) == names.end(), "'", target,
          "' is the target and an input");
  return names;
}

data::Standardization scaling_of(const Tensor& inputs, const Options& options) {
  if (options.standardize) return data::standardize(inputs, {.center = options.intercept});
  const auto columns = static_cast<std::size_t>(inputs.shape()[1]);
  return {std::vector<double>(columns, 0.0), std::vector<double>(columns, 1.0)};
}

}  // namespace

Problem read_problem(const Options& options) {
  const data::Table table = data::read_csv(options.data);
  const std::string target_name = choose_target(table, options);
  const std::vector<std::string> names = choose_inputs(table, options, target_name);
  const Tensor inputs = table.select(names, DType::f64);
  const Tensor target = table.select({target_name}, DType::f64);
  require(options.predict.empty() || options.predict.size() == names.size(), "--predict: expected ",
          names.size(), " values, one for each input, got ", options.predict.size());
  const data::Standardization scaling = scaling_of(inputs, options);
  const DType dtype = options.dtype == "f64" ? DType::f64 : DType::f32;
  const data::Dataset rows{{"inputs", scaling.apply(inputs).astype(dtype)},
                           {"target", target.astype(dtype)}};
  return {names, target_name, options.intercept, inputs, target, scaling, rows};
}

double predict(const data::LinearModel& model, std::span<const double> inputs) {
  double sum = model.intercept;
  for (std::size_t j = 0; j < inputs.size(); ++j) sum += model.coefficients[j] * inputs[j];
  return sum;
}

Quality quality(const data::LinearModel& model, const Problem& problem) {
  const std::span<const double> x = problem.inputs.span<double>(),
                                t = problem.target.span<double>();
  const std::size_t columns = problem.input_names.size();
  const auto count = static_cast<double>(t.size());
  double mean = 0;
  for (const double value : t) mean += value / count;
  double errors = 0, distances = 0;
  for (std::size_t i = 0; i < t.size(); ++i) {
    const double error = predict(model, x.subspan(i * columns, columns)) - t[i];
    errors += error * error;
    distances += (t[i] - mean) * (t[i] - mean);
  }
  const double r2 =
      distances > 0 ? 1 - errors / distances : std::numeric_limits<double>::quiet_NaN();
  return {std::sqrt(errors / count), r2};
}

}  // namespace ad_spend
