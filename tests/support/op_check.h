#pragma once
// Rows of ops and what every row must pass: values against a slow reference in double, gradients
// against central differences, and equal bits however the program is compiled. A row becomes a test
// case of the suite around it.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "blockgrad/graph/expr.h"

namespace op_check {

using blockgrad::DType;
using blockgrad::Expr;
using blockgrad::Shape;
using blockgrad::Tensor;

using Index = std::vector<std::int64_t>;

/// A dense row-major value in double, for references.
struct Array {
  Shape shape;
  std::vector<double> values;

  double at(std::span<const std::int64_t> index) const;
  double at(std::initializer_list<std::int64_t> index) const {
    return at(std::span(index.begin(), index.size()));
  }
};

/// values[index] = f(index), one element after the other.
Array make_array(const Shape& shape, const std::function<double(const Index&)>& f);
/// f over the elements of the arguments, broadcast.
Array pointwise(std::span<const Array> args,
                const std::function<double(std::span<const double>)>& f);
/// f over the elements of x along `axes` (all, if there are none), in row-major order.
Array along(const Array& x, std::vector<int> axes, bool keepdims,
            const std::function<double(const std::vector<double>&)>& f);

Tensor tensor_of(const Array& array, DType dtype);
Array array_of(const Tensor& tensor);

struct OpCase {
  std::string name;
  std::vector<std::vector<Shape>> shapes;  // of the inputs, one list per try
  std::function<Expr(std::span<const Expr>)> op;
  std::function<Array(std::span<const Array>)> reference;
  double low = -2, high = 2;    // inputs are drawn evenly between
  bool has_gradient = true;     // by every input
  bool takes_integers = false;  // i32, i64 and u8 are tried too, with values 1 to 9
  double tolerance32 = 2e-6;    // of f32 values, relative to max(1, |reference|)
  std::vector<DType> dtypes = {DType::f64, DType::f32};
};

/// The checks of one row; failures go to Boost.Test.
void check(const OpCase& row);

/// Adds a case per row to the suite that is open where this is called during static initialization.
bool add_cases(std::vector<OpCase> rows, const char* file, int line);

/// Largest difference of g against central differences of y by `inputs` (f64), relative to max(1,
/// |difference|). The step is the one that rounding leaves: (x + h) - x.
double gradient_error(const Expr& y, std::span<const Expr> gradients, std::span<const Expr> inputs,
                      const std::vector<Tensor>& at);

/// Bits of two tensors, NaN equal to NaN of the same bits.
bool same_bits(const Tensor& a, const Tensor& b);

}  // namespace op_check

/// Rows of a suite: `BG_CASES(rows())` between BOOST_AUTO_TEST_SUITE and its end.
#define BG_CASES(...) \
  [[maybe_unused]] const bool has_rows = op_check::add_cases(__VA_ARGS__, __FILE__, __LINE__);
