#pragma once
// The table as training sees it, and the way back to the data's own units.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ad_spend/options.h"
#include "blockgrad/data/dataset.h"

namespace ad_spend {

struct Problem {
  std::vector<std::string> input_names;
  std::string target_name;
  bool has_intercept = true;
  blockgrad::Tensor inputs, target;          // f64 [rows, inputs], [rows, 1], in the data's units
  blockgrad::data::Standardization scaling;  // means 0 and scales 1 without --standardize
  blockgrad::data::Dataset rows;             // "inputs" scaled, "target"; of the chosen dtype

  std::int64_t row_count() const { return target.size(); }
};

/// Reads the columns. Throws Error for a file or column that does not fit.
Problem read_problem(const Options& options);

/// intercept + sum of coefficients times inputs, in the data's units.
double predict(const blockgrad::data::LinearModel& model, std::span<const double> inputs);

/// How well a model fits the rows of the problem.
struct Quality {
  double rmse = 0;  // root of the mean squared error
  double r2 = 0;    // 1 - squared errors / squared distances of the target from its mean; NaN if it
                    // is constant
};
Quality quality(const blockgrad::data::LinearModel& model, const Problem& problem);

}  // namespace ad_spend
