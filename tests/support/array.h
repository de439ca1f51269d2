#pragma once
// Array: a dense row-major value in double, what references compute with.

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "blockgrad/graph/tensor.h"
#include "tests/support/checks.h"

namespace op_check {

using blockgrad::DType;
using blockgrad::Shape;
using blockgrad::Tensor;
using test_support::same_bits;

using Index = std::vector<std::int64_t>;

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

}  // namespace op_check
