#pragma once
// Digits drawn by a program, for where no data set is at hand: strokes that are shifted, turned,
// slanted and stretched at random, drawn with a pen of random width, and speckled.

#include <cstdint>

#include "blockgrad/graph/tensor.h"

namespace examples {

struct DrawnDigits {
  blockgrad::Tensor images;  // u8 [count, 28, 28]; 0 is paper, 255 is ink
  blockgrad::Tensor labels;  // u8 [count], 0 to 9, each as often as the others but for the rest
};

/// The same digits for the same seed and stream; streams of one seed share no random numbers.
DrawnDigits draw_digits(std::int64_t count, std::uint64_t seed, std::uint64_t stream);

}  // namespace examples
