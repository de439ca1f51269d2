#pragma once
// The network: pixels, a hidden layer with relu, ten logits.

#include <cstdint>
#include <vector>

#include "blockgrad/train/fit.h"

namespace digits_mlp {

class Mlp {
 public:
  /// Weights are drawn evenly in +-sqrt(6 / inputs) (He et al. 2015), biases begin at 0.
  Mlp(std::int64_t pixels, std::int64_t hidden, std::uint64_t seed);

  /// images: u8 [n, height, width] -> f32 [n, 10].
  blockgrad::Expr logits(const blockgrad::Expr& images) const;
  /// Cross-entropy, and how often the largest logit is right.
  blockgrad::train::Outcome operator()(blockgrad::train::Inputs& in) const;
  std::vector<blockgrad::Expr> parameters() const;

 private:
  blockgrad::Expr weights1_, bias1_, weights2_, bias2_;
};

}  // namespace digits_mlp
