#pragma once
// Dataset: named columns of equal row count; seeded shuffling; and the scaling of columns to mean 0
// and spread 1. Everything is a value; tensors share their data.

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blockgrad/graph/tensor.h"

namespace blockgrad::data {

/// A tensor whose axis 0 counts examples, and what models call it.
struct Column {
  std::string name;
  Tensor tensor;
};

/// `Dataset rows{{"spend", x}, {"sales", y}};`
class Dataset {
 public:
  /// Throws Error if there is no column, a name is empty or comes twice, a tensor is a scalar, or
  /// the row counts differ.
  Dataset(std::initializer_list<Column> columns);
  explicit Dataset(std::vector<Column> columns);

  std::int64_t rows() const { return columns_.front().tensor.shape()[0]; }
  /// The rows [first, last), sharing the data. Throws Error if the range does not fit.
  Dataset rows(std::int64_t first, std::int64_t last) const;

  const std::vector<Column>& columns() const { return columns_; }
  std::vector<std::string> names() const;
  bool contains(std::string_view name) const;
  /// Throws Error listing the names if there is no such column.
  const Tensor& operator[](std::string_view name) const;

 private:
  std::vector<Column> columns_;
};

/// The numbers 0 … n - 1 in an order that depends on seed and epoch only; each of the n! orders is
/// equally likely but for the generator (Fisher-Yates on Philox4x32-10, without modulo bias).
/// Returns i32 [n]. Throws Error if n is negative or does not fit i32.
Tensor permutation(std::int64_t n, std::uint64_t seed, std::uint64_t epoch);
/// The same into memory of the caller.
void fill_permutation(std::span<std::int32_t> order, std::uint64_t seed, std::uint64_t epoch);

/// A linear model y = intercept + sum_j coefficients[j] x_j.
struct LinearModel {
  double intercept = 0;
  std::vector<double> coefficients;
};

/// What moves each column j of a table to (x_j - mean[j]) / scale[j].
struct Standardization {
  std::vector<double> mean;
  std::vector<double> scale;  // never 0

  /// (x - mean) / scale, computed in f64 and rounded to x's dtype. x: f32 or f64, [n, columns] or,
  /// for one column, [n]. Throws Error if it does not fit.
  Tensor apply(const Tensor& x) const;
  /// The inverse: x scale + mean.
  Tensor undo(const Tensor& x) const;
  /// The model of the columns' own units that gives the same y as `standardized` gives on
  /// standardized columns. Throws Error if the number of coefficients differs.
  LinearModel in_data_units(const LinearModel& standardized) const;
};

struct StandardizeOptions {
  bool center = true;  // false: mean 0, for models without an intercept
};

/// mean_j = sum_i x_ij / n; scale_j = sqrt(sum_i (x_ij - mean_j)^2 / n), in f64 by two passes over
/// the centred values, so that a large mean costs no digits. A constant column has its value as
/// mean and scale 1; a column of zeros that is not centred has scale 1. x: f32 or f64, [n, columns]
/// or [n]. Throws Error if n is 0 or a value is not finite.
Standardization standardize(const Tensor& x, StandardizeOptions options = {});

}  // namespace blockgrad::data
