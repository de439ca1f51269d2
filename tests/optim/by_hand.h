#pragma once
// A linear regression and the update rules, written in plain double, for the tests of optimizers.

#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "blockgrad/optim/rules.h"
#include "tests/support/checks.h"

namespace by_hand {

using namespace blockgrad;
using test_support::error_of;

using Vector = std::vector<double>;

inline constexpr std::size_t columns = 3, batch_rows = 8, last_rows = 5;

// Row i of the data; the targets are not quite linear.
inline double x_at(std::size_t row, std::size_t column) {
  return std::sin(0.7 * static_cast<double>(row) + 1.9 * static_cast<double>(column));
}
inline double t_at(std::size_t row) {
  return 1.5 * x_at(row, 0) - 0.5 * x_at(row, 1) + 0.1 * std::cos(5.0 * static_cast<double>(row));
}

inline Tensor rows_of_x(std::size_t first, std::size_t rows) {
  Vector values;
  for (std::size_t i = 0; i < rows * columns; ++i)
    values.push_back(x_at(first + i / columns, i % columns));
  return tensor(std::span<const double>(values), {static_cast<std::int64_t>(rows), 3});
}
inline Tensor rows_of_t(std::size_t first, std::size_t rows) {
  Vector values;
  for (std::size_t i = 0; i < rows; ++i) values.push_back(t_at(first + i));
  return tensor(std::span<const double>(values), {static_cast<std::int64_t>(rows), 1});
}

// The mean gradient of the squared error over rows first .. first + rows - 1.
inline Vector gradient_by_hand(const Vector& w, std::size_t first, std::size_t rows) {
  Vector g(columns, 0.0);
  for (std::size_t i = first; i < first + rows; ++i) {
    double error = -t_at(i);
    for (std::size_t c = 0; c < columns; ++c) error += x_at(i, c) * w[c];
    for (std::size_t c = 0; c < columns; ++c)
      g[c] += 2 * error * x_at(i, c) / static_cast<double>(rows);
  }
  return g;
}

// The state of one parameter and the formulas of rules.h, element by element.
struct ByHand {
  Vector w{1, -2, 3}, a = Vector(columns, 0.0), b = Vector(columns, 0.0);
  double t = 0;

  void step(const Sgd& rule, Vector g) {
    for (std::size_t i = 0; i < columns; ++i) {
      g[i] += rule.weight_decay * w[i];
      a[i] = t == 0 ? g[i] : rule.momentum * a[i] + g[i];
      w[i] -= rule.learning_rate * (rule.nesterov ? g[i] + rule.momentum * a[i] : a[i]);
    }
    t += 1;
  }
  void step(const Adam& rule, Vector g) {
    for (std::size_t i = 0; i < columns; ++i) g[i] += rule.weight_decay * w[i];
    move(rule, g);
  }
  void step(const AdamW& rule, const Vector& g) {
    for (double& x : w) x *= 1 - rule.learning_rate * rule.weight_decay;
    move(rule, g);
  }
  template <class Rule>
  void move(const Rule& rule, const Vector& g) {
    t += 1;
    for (std::size_t i = 0; i < columns; ++i) {
      a[i] = rule.beta1 * a[i] + (1 - rule.beta1) * g[i];
      b[i] = rule.beta2 * b[i] + (1 - rule.beta2) * g[i] * g[i];
      const double m = a[i] / (1 - std::pow(rule.beta1, t));
      const double s = b[i] / (1 - std::pow(rule.beta2, t));
      w[i] -= rule.learning_rate * m / (std::sqrt(s) + rule.eps);
    }
  }
  void step(const RmsProp& rule, Vector g) {
    for (std::size_t i = 0; i < columns; ++i) {
      g[i] += rule.weight_decay * w[i];
      a[i] = rule.rho * a[i] + (1 - rule.rho) * g[i] * g[i];
      w[i] -= rule.learning_rate * g[i] / (std::sqrt(a[i]) + rule.eps);
    }
  }
  void step(const Adagrad& rule, Vector g) {
    for (std::size_t i = 0; i < columns; ++i) {
      g[i] += rule.weight_decay * w[i];
      a[i] += g[i] * g[i];
      w[i] -= rule.learning_rate * g[i] / (std::sqrt(a[i]) + rule.eps);
    }
  }
};

/// The message with the numbers of lines left out, which move.
inline std::string without_lines(std::string text) {
  for (std::size_t at = text.find(".cpp:"); at != std::string::npos; at = text.find(".cpp:", at)) {
    at += 5;
    text.erase(at, text.find_first_not_of("0123456789", at) - at);
  }
  return text;
}

}  // namespace by_hand
