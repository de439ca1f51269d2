#include "tests/support/array.h"

#include <memory>

namespace op_check {

using namespace blockgrad;

namespace {

// The next index in row-major order.
void advance(Index& index, const Shape& shape) {
  for (int a = shape.rank() - 1; a >= 0; --a) {
    auto& digit = index[static_cast<std::size_t>(a)];
    if (++digit < shape[a]) return;
    digit = 0;
  }
}

Index start(const Shape& shape) { return Index(static_cast<std::size_t>(shape.rank()), 0); }

double element_below(const Array& x, const Index& index) {
  Index own(index.end() - x.shape.rank(), index.end());
  for (int a = 0; a < x.shape.rank(); ++a) {
    if (x.shape[a] == 1) own[static_cast<std::size_t>(a)] = 0;
  }
  return x.at(own);
}

}  // namespace

double Array::at(std::span<const std::int64_t> index) const {
  std::int64_t flat = 0;
  for (int a = 0; a < shape.rank(); ++a)
    flat = flat * shape[a] + index[static_cast<std::size_t>(a)];
  return values[static_cast<std::size_t>(flat)];
}

Array make_array(const Shape& shape, const std::function<double(const Index&)>& f) {
  Array made{shape, {}};
  Index index = start(shape);
  for (std::int64_t i = 0; i < shape.size(); ++i, advance(index, shape))
    made.values.push_back(f(index));
  return made;
}

Array pointwise(std::span<const Array> args,
                const std::function<double(std::span<const double>)>& f) {
  Shape shape;
  for (const Array& a : args) shape = broadcast(shape, a.shape);
  return make_array(shape, [&](const Index& index) {
    std::vector<double> values;
    for (const Array& a : args) values.push_back(element_below(a, index));
    return f(values);
  });
}

Array along(const Array& x, std::vector<int> axes, bool keepdims,
            const std::function<double(const std::vector<double>&)>& f) {
  const int rank = x.shape.rank();
  std::vector<char> drops(static_cast<std::size_t>(rank), axes.empty() ? 1 : 0);
  for (const int a : axes) drops[static_cast<std::size_t>(a < 0 ? a + rank : a)] = 1;
  std::vector<std::int64_t> sizes;
  for (int a = 0; a < rank; ++a) {
    if (!drops[static_cast<std::size_t>(a)]) sizes.push_back(x.shape[a]);
    else if (keepdims) sizes.push_back(1);
  }
  const Shape shape(sizes);
  std::vector<std::vector<double>> lines(static_cast<std::size_t>(shape.size()));
  Index index = start(x.shape);
  for (std::int64_t i = 0; i < x.shape.size(); ++i, advance(index, x.shape)) {
    std::int64_t line = 0;
    for (int a = 0; a < rank; ++a) {
      if (!drops[static_cast<std::size_t>(a)])
        line = line * x.shape[a] + index[static_cast<std::size_t>(a)];
    }
    lines[static_cast<std::size_t>(line)].push_back(x.values[static_cast<std::size_t>(i)]);
  }
  Array result{shape, {}};
  for (const auto& line : lines) result.values.push_back(f(line));
  return result;
}

Tensor tensor_of(const Array& array, DType dtype) {
  return visit(dtype, [&](auto zero) {
    using T = decltype(zero);
    auto data = std::make_unique<T[]>(array.values.size() + 1);
    for (std::size_t i = 0; i < array.values.size(); ++i) data[i] = static_cast<T>(array.values[i]);
    return tensor(std::span<const T>(data.get(), array.values.size()), array.shape);
  });
}

Array array_of(const Tensor& tensor) {
  Array array{tensor.shape(), {}};
  for (std::int64_t i = 0; i < tensor.size(); ++i) array.values.push_back(tensor.at(i));
  return array;
}

}  // namespace op_check
