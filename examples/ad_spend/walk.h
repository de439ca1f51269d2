#pragma once
// The first step of training, by hand: one row, start weights 0.5 and 0.7, no bias, loss (y - t)^2,
// rate 0.01.

#include <string>

#include "ad_spend/problem.h"

namespace ad_spend {

struct Step {
  double prediction = 0;
  double gradient[2] = {};
  double weights[2] = {};  // after the update
  double next_prediction = 0;
};

/// One row with two inputs.
struct Row {
  double x[2] = {};
  double t = 0;
};

/// The same step three times: written out number by number, as matrix products, and by the engine.
Step step_of_scalars(const Row& row);
Step step_of_matrices(const Row& row);
Step step_of_engine(const Row& row);

/// Prints the three ways and how far they differ. Throws InternalError if they do not agree to
/// 1e-12.
void print_walk(const Problem& problem, const Row& row);

}  // namespace ad_spend
