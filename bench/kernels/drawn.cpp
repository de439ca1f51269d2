#include "kernels/drawn.h"

#include <string>

namespace bench {

namespace bg = blockgrad;

bg::Expr Drawn::add(const bg::Expr& value) {
  const bg::Expr leaf =
      bg::state(bg::zeros(value.shape(), value.dtype()), "drawn" + std::to_string(count_++));
  updates_.set(leaf, value);
  return leaf;
}

bg::Expr Drawn::numbers(const bg::Shape& shape, bg::DType dtype) {
  return add(bg::uniform(shape, -1, 1, context_.stream(), dtype));
}

bg::Expr Drawn::below(std::int64_t n, const bg::Shape& shape) {
  return add(bg::randint(shape, 0, n, context_.stream()));
}

void Drawn::fill(const bg::Device& device) {
  bg::Program program = bg::compile(std::initializer_list<bg::Output>{}, updates_, device);
  program.run();
}

}  // namespace bench
