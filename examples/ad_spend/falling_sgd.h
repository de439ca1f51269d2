#pragma once
// A recipe of one's own, written like the library's Sgd: the learning rate falls inside the
// program.

#include <string>
#include <utility>
#include <vector>

#include "blockgrad/optim/optimizer.h"

namespace ad_spend {

/// Gradient descent whose rate stays for the first half of the planned updates, then falls in a
/// straight line to 0:
///   v = momentum * v + g;  w -= learning_rate * min(1, 2 - 2 k / updates) * v   in update k = 0,
///   1, ..
/// Batches that differ make noise in proportion to the rate; falling, it lets the weights settle.
struct FallingSgd {
  double learning_rate = 0.01;
  double momentum = 0;
  double updates = 1000;  // planned; the parameter's dtype must count so far: 2^24 in f32

  std::vector<std::pair<std::string, double>> settings() const;
  void update(blockgrad::UpdateRule& rule) const;
};

}  // namespace ad_spend
