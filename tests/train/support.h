#pragma once
// What the tests of training share: a small data set, a linear model on it, and the same descent by
// hand.

#include <cmath>
#include <string>
#include <vector>

#include "blockgrad/blockgrad.h"
#include "tests/support/checks.h"

namespace fit_support {

using namespace blockgrad;
using test_support::contains;
using test_support::error_of;
using test_support::same_bits;

// n rows of two columns and a target that is not quite linear.
inline data::Dataset rows_of(std::int64_t n) {
  std::vector<double> x, t;
  for (std::int64_t i = 0; i < n; ++i) {
    const double a = std::sin(0.7 * static_cast<double>(i)),
                 b = std::cos(1.3 * static_cast<double>(i) + 0.2);
    x.insert(x.end(), {a, b});
    t.push_back(1.25 * a - 0.5 * b + 0.3 + 0.1 * std::sin(9.0 * static_cast<double>(i)));
  }
  return {{"x", tensor(std::span<const double>(x), {n, 2})},
          {"t", tensor(std::span<const double>(t), {n, 1})}};
}

struct Linear {
  Expr w = parameter(zeros({2, 1}, DType::f64), "w"), b = parameter(zeros({1}, DType::f64), "b");
  double decay = 0;

  train::Model model() const {
    return [this](train::Inputs& in) {
      Loss loss = mse_loss(matmul(in["x"], w) + b, in["t"]);
      if (decay > 0) loss = loss + penalty(decay * sum(square(w)));
      return train::Outcome(loss, {{"absolute", l1_loss(matmul(in["x"], w) + b, in["t"])}});
    };
  }
};

// The same descent by hand: rows `order` in batches, mean gradient of each batch.
struct ByHand {
  double w0 = 0, w1 = 0, b = 0, decay = 0;

  void epoch(const data::Dataset& data, const std::vector<std::int64_t>& order, std::int64_t batch,
             double rate) {
    const auto n = static_cast<std::int64_t>(order.size());
    for (std::int64_t first = 0; first < n; first += batch) {
      const std::int64_t last = std::min(first + batch, n);
      double g0 = 0, g1 = 0, gb = 0;
      for (std::int64_t k = first; k < last; ++k) {
        const std::int64_t i = order[static_cast<std::size_t>(k)];
        const double x0 = data["x"].at(2 * i), x1 = data["x"].at(2 * i + 1);
        const double e = 2 * (w0 * x0 + w1 * x1 + b - data["t"].at(i));
        g0 += e * x0;
        g1 += e * x1;
        gb += e;
      }
      const double m = static_cast<double>(last - first);
      w0 -= rate * (g0 / m + 2 * decay * w0);
      w1 -= rate * (g1 / m + 2 * decay * w1);
      b -= rate * gb / m;
    }
  }
};

inline std::vector<std::int64_t> in_order(std::int64_t n) {
  std::vector<std::int64_t> order;
  for (std::int64_t i = 0; i < n; ++i) order.push_back(i);
  return order;
}

}  // namespace fit_support
