#pragma once
// Learning rates that fit the data, so that none needs to be tried out.

#include <cstdint>

#include "ad_spend/problem.h"

namespace ad_spend {

/// How steep the mean squared error is, over all rows and over single ones.
class LearningRates {
 public:
  /// Power iteration on the Gram matrix of the inputs as training sees them, with a column of ones
  /// for an intercept.
  explicit LearningRates(const Problem& problem);

  /// 1 / L(B) for batches of B of n rows: L(B) = (n (B - 1) L + (n - B) L_max) / (B (n - 1)), where
  /// L = 2 * largest eigenvalue of X^T X / n bounds the curvature over all rows, and L_max = 2 max
  /// |x_i|^2 that of one row (Gower et al. 2019, "SGD: General Analysis and Improved Rates",
  /// proposition 3.8). Smaller batches, whose noise momentum adds up, get it times 1 - momentum.
  double of(std::int64_t batch_size, double momentum) const;

 private:
  double rows_ = 0;
  double all_rows_ = 0;  // L
  double one_row_ = 0;   // L_max
};

}  // namespace ad_spend
