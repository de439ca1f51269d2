#pragma once
// The digits: MNIST's files, or drawn ones.

#include <cstdint>
#include <string>

#include "blockgrad/data/dataset.h"

namespace digits_mlp {

/// Columns `image`, u8 [n, height, width], and `label`, i32 [n], 0 to 9.
struct Digits {
  std::string name;  // where they come from
  blockgrad::data::Dataset training, test;
};

/// Reads train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
/// t10k-labels-idx1-ubyte from `folder`, each as it is or with .gz behind its name. Throws Error,
/// naming the file, if one is missing or does not fit the others.
Digits read_mnist(const std::string& folder);

/// 10,000 digits to train with and 2,000 to test.
Digits draw(std::uint64_t seed);

}  // namespace digits_mlp
