#pragma once
// Recipes. g is the mean gradient, w the parameter, eta the learning rate.

#include <string>
#include <utility>
#include <vector>

#include "blockgrad/optim/optimizer.h"

namespace blockgrad {

/// Stochastic gradient descent (Robbins and Monro 1951) with momentum (Polyak 1964, without
/// dampening), Nesterov's form (Sutskever et al. 2013) and weight decay:
///   g += weight_decay * w;  v = momentum * v + g;  w -= eta * v, or eta * (g + momentum * v) with
///   nesterov.
struct Sgd {
  double learning_rate = 0.01;
  double momentum = 0;
  bool nesterov = false;
  double weight_decay = 0;

  std::vector<std::pair<std::string, double>> settings() const;
  void update(UpdateRule& rule) const;
};

}  // namespace blockgrad
