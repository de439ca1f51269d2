#include "models/model.h"

#include <random>
#include <span>
#include <utility>

namespace bench {

namespace bg = blockgrad;

namespace {

std::unique_ptr<bg::Optimizer> optimizer_of(Recipe recipe, double learning_rate) {
  switch (recipe) {
    case Recipe::sgd:
      return std::make_unique<bg::Optimizer>(bg::Sgd{.learning_rate = learning_rate});
    case Recipe::momentum:
      return std::make_unique<bg::Optimizer>(
          bg::Sgd{.learning_rate = learning_rate, .momentum = 0.9});
    case Recipe::adam:
      return std::make_unique<bg::Optimizer>(bg::Adam{.learning_rate = learning_rate});
    case Recipe::adamw:
      return std::make_unique<bg::Optimizer>(bg::AdamW{.learning_rate = learning_rate});
    case Recipe::adagrad:
      return std::make_unique<bg::Optimizer>(bg::Adagrad{.learning_rate = learning_rate});
  }
  return nullptr;
}

double floats_moved(Recipe recipe) {
  switch (recipe) {
    case Recipe::sgd: return 3;
    case Recipe::momentum:
    case Recipe::adagrad: return 5;
    case Recipe::adam:
    case Recipe::adamw: return 7;
  }
  return 0;
}

}  // namespace

std::string to_string(Recipe recipe) {
  switch (recipe) {
    case Recipe::sgd: return "sgd";
    case Recipe::momentum: return "momentum";
    case Recipe::adam: return "adam";
    case Recipe::adamw: return "adamw";
    case Recipe::adagrad: return "adagrad";
  }
  return "";
}

Training training_of(Model model, bool guard_finite) {
  Training training{std::move(model), nullptr, {}, {}};
  training.optimizer = optimizer_of(training.model.recipe, training.model.learning_rate);
  const bg::Gradients gradients = bg::gradients(training.model.loss);
  training.updates = training.optimizer->apply(gradients, guard_finite) + training.model.statistics;
  training.work = training.model.work;
  for (const bg::Gradient& gradient : gradients.list) {
    if (gradient.rows) continue;
    training.work.bytes += update_bytes(training.model.recipe, gradient.value.shape().size());
  }
  return training;
}

double update_bytes(Recipe recipe, std::int64_t numbers) {
  return sizeof(float) * floats_moved(recipe) * static_cast<double>(numbers);
}

double product_flops(std::int64_t m, std::int64_t n, std::int64_t k) {
  return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
}

bg::Expr add_parameter(Model& model, const bg::Shape& shape, const bg::Initial& initial,
                       const std::string& name) {
  model.parameters.push_back(bg::parameter(shape, initial, name));
  return model.parameters.back();
}

bg::Expr add_values(Model& model, const bg::Shape& shape, const std::string& name) {
  const bg::Expr leaf = bg::input(name, shape);
  model.batch.push_back({leaf, bg::normal_tensor(shape, 0, 1, bg::draw_of(name))});
  return leaf;
}

bg::Expr add_labels(Model& model, const bg::Shape& shape, std::int64_t classes,
                    const std::string& name) {
  const bg::Expr leaf = bg::input(name, shape, bg::DType::i32);
  std::mt19937 random(static_cast<unsigned>(classes));
  std::vector<std::int32_t> labels(static_cast<std::size_t>(shape.size()));
  for (std::int32_t& label : labels) {
    label = static_cast<std::int32_t>(random() % static_cast<std::uint64_t>(classes));
  }
  model.batch.push_back({leaf, bg::tensor(std::span<const std::int32_t>(labels), shape)});
  return leaf;
}

}  // namespace bench
