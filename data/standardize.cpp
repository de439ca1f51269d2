#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "blockgrad/data/dataset.h"

namespace blockgrad::data {

namespace {

// Rows and columns of a table, or of one column [n].
std::pair<std::int64_t, std::int64_t> extents(const Tensor& x) {
  require(is_floating(x.dtype()) && !is_half(x.dtype()), "standardizing needs f32 or f64, got ",
          x.dtype());
  const Shape& shape = x.shape();
  require(shape.rank() == 1 || shape.rank() == 2,
          "standardizing needs a table [n, columns] or a column [n], got shape ", shape);
  return {shape[0], shape.rank() == 2 ? shape[1] : 1};
}

// A sum whose error does not grow with its length (Neumaier 1974).
class Sum {
 public:
  void add(double x) {
    const double next = sum_ + x;
    rest_ += std::abs(sum_) >= std::abs(x) ? (sum_ - next) + x : (x - next) + sum_;
    sum_ = next;
  }
  double value() const { return sum_ + rest_; }

 private:
  double sum_ = 0;
  double rest_ = 0;
};

struct Spread {
  double mean = 0;
  double scale = 1;
};

Spread spread(std::span<const double> column, bool center) {
  const double first = column[0];
  const bool is_constant =
      std::all_of(column.begin(), column.end(), [=](double x) { return x == first; });
  if (is_constant && center) return {first, 1};

  const auto n = static_cast<double>(column.size());
  double mean = 0;
  if (center) {
    // About the first value, so that a large offset is gone before the sum.
    Sum sum;
    for (const double x : column) sum.add(x - first);
    mean = first + sum.value() / n;
  }
  double largest = 0;
  for (const double x : column) largest = std::max(largest, std::abs(x - mean));
  if (largest == 0) return {mean, 1};
  int exponent = 0;
  std::frexp(largest, &exponent);
  Sum squares;  // of values below 1, whose squares do not overflow
  for (const double x : column) {
    const double part = std::ldexp(x - mean, -exponent);
    squares.add(part * part);
  }
  return {mean, std::ldexp(std::sqrt(squares.value() / n), exponent)};
}

std::vector<double> column_of(const Tensor& x, std::int64_t n, std::int64_t columns,
                              std::int64_t j) {
  std::vector<double> column(static_cast<std::size_t>(n));
  visit(x.dtype(), [&](auto zero) {
    const auto* in = reinterpret_cast<const decltype(zero)*>(x.bytes()) + j;
    for (std::int64_t i = 0; i < n; ++i)
      column[static_cast<std::size_t>(i)] = static_cast<double>(in[i * columns]);
  });
  return column;
}

template <class F>
Tensor map_columns(const Standardization& by, const Tensor& x, F f) {
  const auto [n, columns] = extents(x);
  require(by.mean.size() == static_cast<std::size_t>(columns) && by.scale.size() == by.mean.size(),
          "the standardization is of ", by.mean.size(), " columns, the tensor has shape ",
          x.shape());
  auto data = allocate_bytes(bytes_of(x.type()));
  visit(x.dtype(), [&, rows = n, width = static_cast<std::size_t>(columns)](auto zero) {
    using T = decltype(zero);
    const auto* in = reinterpret_cast<const T*>(x.bytes());
    auto* out = reinterpret_cast<T*>(data.get());
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < width; ++j)
        *out++ = static_cast<T>(f(static_cast<double>(*in++), by.mean[j], by.scale[j]));
    }
  });
  return adopt(x.type(), std::move(data));
}

}  // namespace

Standardization standardize(const Tensor& x, StandardizeOptions options) {
  const auto [n, columns] = extents(x);
  require(n > 0, "standardizing needs rows, got shape ", x.shape());
  Standardization result;
  for (std::int64_t j = 0; j < columns; ++j) {
    const std::vector<double> column = column_of(x, n, columns, j);
    const auto bad = std::find_if(column.begin(), column.end(),
                                  [](double value) { return !std::isfinite(value); });
    if (bad != column.end())
      fail({"standardizing needs finite values, got ", *bad, " in row ", bad - column.begin(),
            ", column ", j});
    const Spread found = spread(column, options.center);
    require(std::isfinite(found.mean) && std::isfinite(found.scale) && found.scale > 0, "column ",
            j, " spreads too far to be standardized");
    result.mean.push_back(found.mean);
    result.scale.push_back(found.scale);
  }
  return result;
}

Tensor Standardization::apply(const Tensor& x) const {
  return map_columns(*this, x, [](double value, double m, double s) { return (value - m) / s; });
}

Tensor Standardization::undo(const Tensor& x) const {
  return map_columns(*this, x, [](double value, double m, double s) { return value * s + m; });
}

LinearModel Standardization::in_data_units(const LinearModel& standardized) const {
  require(standardized.coefficients.size() == mean.size() && scale.size() == mean.size(),
          "the standardization is of ", mean.size(), " columns, the model has ",
          standardized.coefficients.size(), " coefficients");
  LinearModel model;
  Sum intercept;
  intercept.add(standardized.intercept);
  for (std::size_t j = 0; j < mean.size(); ++j) {
    const double coefficient = standardized.coefficients[j] / scale[j];
    const double product = coefficient * mean[j];
    intercept.add(-product);
    intercept.add(-std::fma(coefficient, mean[j], -product));
    model.coefficients.push_back(coefficient);
  }
  model.intercept = intercept.value();
  return model;
}

}  // namespace blockgrad::data
