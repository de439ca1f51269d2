#include "support/random.h"

#include <vector>

#include "blockgrad/graph/philox.h"

namespace examples {

double Random::uniform(double low, double high) {
  const auto low_half = [](std::uint64_t bits) { return static_cast<unsigned int>(bits); };
  const auto high_half = [](std::uint64_t bits) { return static_cast<unsigned int>(bits >> 32); };
  const std::uint64_t block = drawn_ / 4;
  const auto bits = blockgrad::philox(
      {{low_half(block), high_half(block), low_half(stream_), high_half(stream_)}}, low_half(seed_),
      high_half(seed_));
  return low + (high - low) * (bits.word[drawn_++ % 4] * 0x1p-32);
}

std::int64_t Random::below(std::int64_t count) {
  return static_cast<std::int64_t>(uniform(0, static_cast<double>(count)));
}

blockgrad::Tensor Random::uniform(const blockgrad::Shape& shape, double low, double high) {
  std::vector<float> values(static_cast<std::size_t>(shape.size()));
  for (float& value : values) value = static_cast<float>(uniform(low, high));
  return blockgrad::tensor(std::span<const float>(values), shape);
}

}  // namespace examples
