#pragma once
// A weighted regression with a penalty, for the tests of gradients over several batches.

#include <vector>

#include "blockgrad/blockgrad.h"
#include "tests/optim/by_hand.h"
#include "tests/support/checks.h"

namespace by_hand {

using test_support::same_bits;

inline std::vector<Tensor> values_of(const std::vector<Expr>& leaves) {
  std::vector<Tensor> values;
  for (const Expr& leaf : leaves) values.push_back(leaf.value());
  return values;
}

// Weighted regression with labels that count or not, and a penalty on one of two parameters.
struct Weighted {
  Expr w = parameter(tensor({0.5, -0.25, 1.0}, {3, 1}), "w");
  Expr b = parameter(tensor({0.1}, {1}), "b");

  struct Step {
    Expr x, t, weight;
    Loss loss;
  };
  Step step(std::int64_t rows, bool has_penalty) const {
    Step made{input("x", {rows, 3}, DType::f64),
              input("t", {rows, 1}, DType::f64),
              input("weight", {rows, 1}, DType::f64),
              {}};
    const Expr error = matmul(made.x, w) + b - made.t;
    made.loss = {sum(made.weight * square(error)), sum(made.weight), {}};
    if (has_penalty) made.loss = made.loss + penalty(0.3 * sum(square(w)) + 0.2 * sum(exp(w)));
    return made;
  }
};

inline double weight_at(std::size_t row) {  // every fifth row is ignored
  return row % 5 == 3 ? 0 : 0.5 + 0.25 * static_cast<double>(row % 4);
}

inline Tensor rows_of_weight(std::size_t first, std::size_t rows) {
  Vector values;
  for (std::size_t i = 0; i < rows; ++i) values.push_back(weight_at(first + i));
  return tensor(std::span<const double>(values), {static_cast<std::int64_t>(rows), 1});
}

inline Feeds feeds_of(const Weighted::Step& step, std::size_t first, std::size_t rows) {
  return {{step.x, rows_of_x(first, rows)},
          {step.t, rows_of_t(first, rows)},
          {step.weight, rows_of_weight(first, rows)}};
}

}  // namespace by_hand
