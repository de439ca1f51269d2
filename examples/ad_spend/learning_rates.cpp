#include "ad_spend/learning_rates.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace ad_spend {

namespace {

constexpr int most_iterations = 500;

double length(const std::vector<double>& v) {
  double sum = 0;
  for (const double value : v) sum += value * value;
  return std::sqrt(sum);
}

/// The rows with the column of ones in front, if there is one.
std::vector<double> design(const Problem& problem, std::size_t& columns) {
  const blockgrad::Tensor scaled = problem.scaling.apply(problem.inputs);
  const auto inputs = static_cast<std::size_t>(scaled.shape()[1]);
  columns = inputs + (problem.has_intercept ? 1 : 0);
  std::vector<double> rows;
  for (std::size_t i = 0; i < static_cast<std::size_t>(problem.row_count()); ++i) {
    if (problem.has_intercept) rows.push_back(1);
    const auto row = scaled.span<double>().subspan(i * inputs, inputs);
    rows.insert(rows.end(), row.begin(), row.end());
  }
  return rows;
}

/// v -> X^T X v / n.
std::vector<double> times_gram(const std::vector<double>& rows, const std::vector<double>& v) {
  std::vector<double> result(v.size());
  for (std::size_t first = 0; first < rows.size(); first += v.size()) {
    double along = 0;
    for (std::size_t j = 0; j < v.size(); ++j) along += rows[first + j] * v[j];
    for (std::size_t j = 0; j < v.size(); ++j) result[j] += along * rows[first + j];
  }
  const double count = static_cast<double>(rows.size() / v.size());
  for (double& value : result) value /= count;
  return result;
}

double largest_eigenvalue(const std::vector<double>& rows, std::size_t columns) {
  std::vector<double> v(columns);
  // No two entries alike, so that no symmetry of the data hides the direction.
  for (std::size_t j = 0; j < columns; ++j)
    v[j] = 1 + std::fmod(0.618 * static_cast<double>(j), 1.0);
  double eigenvalue = 0;
  for (int i = 0; i < most_iterations; ++i) {
    const double scale = length(v);
    if (!(scale > 0)) return 0;
    for (double& value : v) value /= scale;
    v = times_gram(rows, v);
    const double before = std::exchange(eigenvalue, length(v));
    if (std::abs(eigenvalue - before) <= 1e-9 * eigenvalue) break;
  }
  return eigenvalue;
}

}  // namespace

LearningRates::LearningRates(const Problem& problem)
    : rows_(static_cast<double>(problem.row_count())) {
  std::size_t columns = 0;
  const std::vector<double> rows = design(problem, columns);
  all_rows_ = 2 * largest_eigenvalue(rows, columns);
  for (std::size_t first = 0; first < rows.size(); first += columns) {
    double square = 0;
    for (std::size_t j = 0; j < columns; ++j) square += rows[first + j] * rows[first + j];
    one_row_ = std::max(one_row_, 2 * square);
  }
}

double LearningRates::of(std::int64_t batch_size, double momentum) const {
  const auto size = static_cast<double>(batch_size);
  if (!(all_rows_ > 0)) return 1;  // every input is 0: nothing to learn
  if (size >= rows_) return 1 / all_rows_;
  const double steepness =
      (rows_ * (size - 1) * all_rows_ + (rows_ - size) * one_row_) / (size * (rows_ - 1));
  return (1 - momentum) / steepness;
}

}  // namespace ad_spend
