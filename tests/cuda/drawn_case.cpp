#include "tests/cuda/drawn_case.h"

#include "blockgrad/blockgrad.h"

namespace test_support {

using namespace blockgrad;

Expr DrawnCase::numbers(const Shape& shape, DType dtype, double low, double high) {
  std::uniform_real_distribution<double> uniform(low, high);
  std::vector<double> values(static_cast<std::size_t>(shape.size()));
  for (double& value : values) value = uniform(random);
  const Expr x = input("x" + std::to_string(feeds.size()), shape, dtype);
  feeds.push_back({x, tensor(std::span<const double>(values), shape).astype(dtype)});
  return x;
}

Expr DrawnCase::values(const Shape& shape, DType dtype) {
  if (dtype == DType::boolean) return numbers(shape, DType::i32, -4, 4) > 0;
  return numbers(shape, dtype, dtype == DType::u8 ? 0 : -100, 100);
}

Expr DrawnCase::indices(const Shape& shape, DType dtype, std::int64_t n) {
  return numbers(shape, dtype, 0, static_cast<double>(n) - 1e-6);
}

void DrawnCase::check() const {
  check_on_cuda(outputs, feeds, 0);
  check_machine_code();
}

}  // namespace test_support
