#include <algorithm>
#include <cmath>
#include <utility>

#include "blockgrad/data/dataset.h"

namespace blockgrad::data {

namespace {

// Rows and columns of a table, or of one column [n].
std::pair<std::int64_t, std::int64_t> extents(const Tensor& x) {
  require(is_floating(x.dtype()), "standardizing needs f32 or f64, got ", x.dtype());
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

// `at(i)` is element i of the column.
template <class At>
Spread spread(std::int64_t n, At at, bool center) {
  bool is_constant = true;
  for (std::int64_t i = 1; i < n; ++i) is_constant &= at(i) == at(0);
  if (is_constant && center) return {at(0), 1};

  double mean = 0;
  if (center) {
    // About a first value, so that a large offset is gone before the sum.
    const double first = at(0);
    Sum sum;
    for (std::int64_t i = 0; i < n; ++i) sum.add(at(i) - first);
    mean = first + sum.value() / static_cast<double>(n);
  }
  double largest = 0;
  for (std::int64_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(at(i) - mean));
  if (largest == 0) return {mean, 1};
  Sum squares;  // of fractions of the largest, which neither overflow nor vanish
  for (std::int64_t i = 0; i < n; ++i) {
    const double part = (at(i) - mean) / largest;
    squares.add(part * part);
  }
  return {mean, std::sqrt(squares.value() / static_cast<double>(n)) * largest};
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
  for (std::int64_t i = 0; i < x.size(); ++i)
    require(std::isfinite(x.at(i)), "standardizing needs finite values, got ", x.at(i), " in row ",
            i / columns, ", column ", i % columns);
  Standardization result;
  for (std::int64_t j = 0; j < columns; ++j) {
    const auto at = [&, width = columns](std::int64_t i) { return x.at(i * width + j); };
    const Spread found = spread(n, at, options.center);
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
