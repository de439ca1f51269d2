#pragma once
// A row of the ladder: a model with a batch, its loss and its update, and the least work of a step.
// All are made with the public API as a user would, in f32, from fixed seeds.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "blockgrad/blockgrad.h"

namespace bench {

/// What a training step cannot do without.
struct Work {
  double flops = 0;  // of its products, two for each multiply-add
  double bytes = 0;  // read and written by its update, and by passes that no product takes along

  Work& operator+=(const Work& other) {
    flops += other.flops;
    bytes += other.bytes;
    return *this;
  }
};

enum class Recipe { sgd, momentum, adam, adamw, adagrad };

std::string to_string(Recipe recipe);

/// A model before it is trained. `family` is what somebody else has to build to do the same.
struct Model {
  std::string family;
  std::map<std::string, std::int64_t> sizes = {};  // those that shapes do not tell
  Recipe recipe = Recipe::sgd;
  double learning_rate = 0;
  std::vector<blockgrad::Expr> parameters = {};
  blockgrad::Feeds batch = {};
  blockgrad::Loss loss = {};
  blockgrad::Updates statistics = {};  // what layers update themselves
  Work work = {};                      // without the update of parameters whose gradient is dense
};

/// A model with its update; the optimizer's settings live as long as this.
struct Training {
  Model model;
  std::unique_ptr<blockgrad::Optimizer> optimizer;
  blockgrad::Updates updates;
  Work work;  // of a whole step
};

/// `guard_finite` is minimize's: no update from a step that is not finite.
Training training_of(Model model, bool guard_finite);

/// Bytes that an update of so many numbers reads and writes: the gradient once, the number and each
/// of its slots twice.
double update_bytes(Recipe recipe, std::int64_t numbers);

/// Multiply-adds of a product [m, k] x [k, n], twice; with its gradients to both operands three
/// times as many, without the one to its input twice.
double product_flops(std::int64_t m, std::int64_t n, std::int64_t k);

/// A parameter and the model's list of them.
blockgrad::Expr add_parameter(Model& model, const blockgrad::Shape& shape,
                              const blockgrad::Initial& initial, const std::string& name);
/// An input of the batch with values drawn for its name: normal, or whole numbers below `classes`.
blockgrad::Expr add_values(Model& model, const blockgrad::Shape& shape, const std::string& name);
blockgrad::Expr add_labels(Model& model, const blockgrad::Shape& shape, std::int64_t classes,
                           const std::string& name);

}  // namespace bench
