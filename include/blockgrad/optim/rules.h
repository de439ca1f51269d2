#pragma once
// Recipes. w is the parameter, g its mean gradient, eta the learning rate; defaults are PyTorch's,
// as are the formulas where names agree. A term whose setting is 0 when a step is built is left
// out. Settings must not be negative, and beta1, beta2 and rho must lie below 1: an Error
// otherwise. A velocity or running mean (v, m, s) that would be subnormal is 0.

#include <string>
#include <utility>
#include <vector>

#include "blockgrad/optim/optimizer.h"

namespace blockgrad {

/// Stochastic gradient descent (Robbins and Monro 1951) with momentum (Polyak 1964, without
/// dampening), Nesterov's form (Sutskever et al. 2013) and weight decay:
///   g += weight_decay * w;  v = momentum * v + g;  w -= eta * v, or eta * (g + momentum * v) with
///   nesterov. The first v is g. Slot: velocity.
struct Sgd {
  double learning_rate = 0.01;  // PyTorch: 1e-3
  double momentum = 0;
  bool nesterov = false;
  double weight_decay = 0;
  bool lazy = false;

  std::vector<std::pair<std::string, double>> settings() const;
  void check(std::string_view name, double value) const;
  void update(UpdateRule& rule) const;
  bool by_rows(const UpdateRule& rule) const;
};

/// Adam (Kingma and Ba 2015, algorithm 1). t counts the updates of w from 1:
///   g += weight_decay * w;  m = beta1 m + (1 - beta1) g;  s = beta2 s + (1 - beta2) g^2;
///   w -= eta * (m / (1 - beta1^t)) / (sqrt(s / (1 - beta2^t)) + eps). Slots: m, s, count.
struct Adam {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  bool lazy = false;

  std::vector<std::pair<std::string, double>> settings() const;
  void check(std::string_view name, double value) const;
  void update(UpdateRule& rule) const;
  bool by_rows(const UpdateRule& rule) const;
};

/// Adam with decoupled decay (Loshchilov and Hutter 2019): the gradient stays as it is, and
/// w -= eta * weight_decay * w comes first.
struct AdamW {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 1e-2;
  bool lazy = false;

  std::vector<std::pair<std::string, double>> settings() const;
  void check(std::string_view name, double value) const;
  void update(UpdateRule& rule) const;
  bool by_rows(const UpdateRule& rule) const;
};

/// RMSprop (Tieleman and Hinton 2012, lecture 6.5; PyTorch calls rho alpha):
///   g += weight_decay * w;  s = rho s + (1 - rho) g^2;  w -= eta * g / (sqrt(s) + eps). Slot: s.
struct RmsProp {
  double learning_rate = 1e-2;
  double rho = 0.99;
  double eps = 1e-8;
  double weight_decay = 0;
  bool lazy = false;

  std::vector<std::pair<std::string, double>> settings() const;
  void check(std::string_view name, double value) const;
  void update(UpdateRule& rule) const;
  bool by_rows(const UpdateRule& rule) const;
};

/// Adagrad (Duchi, Hazan, Singer 2011):
///   g += weight_decay * w;  s += g^2;  w -= eta * g / (sqrt(s) + eps). Slot: s.
struct Adagrad {
  double learning_rate = 1e-2;
  double eps = 1e-10;
  double weight_decay = 0;
  bool lazy = false;

  std::vector<std::pair<std::string, double>> settings() const;
  void check(std::string_view name, double value) const;
  void update(UpdateRule& rule) const;
  bool by_rows(const UpdateRule& rule) const;
};

}  // namespace blockgrad
