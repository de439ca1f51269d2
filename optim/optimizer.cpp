#include "blockgrad/optim/optimizer.h"

#include <cmath>
#include <map>

#include "blockgrad/graph/grad.h"
#include "blockgrad/graph/view.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/reductions.h"

namespace blockgrad {

namespace detail {

struct OptimizerCore {
  struct Value {
    Expr leaf;
    bool left_out = false;  // it was 0 when a step was built, so no formula reads it
  };
  std::map<std::string, Value, std::less<>> settings;
  std::map<std::pair<const Node*, std::string>, Expr>
      slots;                     // found by parameter and name; listed by order_
  std::vector<Expr> parameters;  // keeps the keys of `slots` alive
  std::vector<Expr> slot_order;
  RecipeCalls recipe;

  Value& setting(std::string_view name) {
    const auto found = settings.find(name);
    if (found == settings.end()) {
      std::string all;
      for (const auto& [known, value] : settings) all += (all.empty() ? "" : ", ") + known;
      fail({"the optimizer has no setting '", name, "'; it has ", all});
    }
    return found->second;
  }

  /// A state that belongs to a parameter, zero at first.
  Expr slot(const Expr& parameter, std::string_view name, const TensorType& type) {
    const std::pair key{parameter.node(), std::string(name)};
    if (const auto known = slots.find(key); known != slots.end()) return known->second;
    const Expr made =
        state(zeros(type.shape, type.dtype), leaf_name(parameter) + "." + std::string(name));
    // Memory first: a slot is known entirely or not at all.
    parameters.reserve(parameters.size() + 1);
    slot_order.reserve(slot_order.size() + 1);
    slots.emplace(key, made);
    parameters.push_back(parameter);
    slot_order.push_back(made);
    return made;
  }
};

}  // namespace detail

namespace {

double read(const Expr& leaf) { return leaf.value().at(0); }

void check_setting(const detail::RecipeCalls& recipe, std::string_view name, double value) {
  require(std::isfinite(value), "setting '", name, "' must be finite, got ", value);
  recipe.check(name, value);
}

}  // namespace

Setting& Setting::operator=(double value) {
  auto& setting = core_->setting(name_);
  check_setting(core_->recipe, name_, value);
  require(value == 0 || !setting.left_out, "setting '", name_,
          "' was 0 when a step was built and its term left out; build the step again with the new "
          "value");
  setting.leaf.set_value(full({}, value, DType::f64));
  return *this;
}

Setting::operator double() const { return read(core_->setting(name_).leaf); }

UpdateRule::UpdateRule(detail::OptimizerCore& core, Updates& updates, const Expr& parameter,
                       Expr gradient, Expr guard)
    : core_(core),
      updates_(updates),
      parameter_(parameter),
      gradient_(std::move(gradient)),
      guard_(std::move(guard)) {}

Expr UpdateRule::setting(std::string_view name) const { return core_.setting(name).leaf; }

bool UpdateRule::uses(std::string_view name) const {
  auto& setting = core_.setting(name);
  const bool used = read(setting.leaf) != 0;
  setting.left_out = setting.left_out || !used;
  return used;
}

Expr UpdateRule::cast(const Expr& number) const { return astype(number, parameter_.dtype()); }

Expr UpdateRule::slot(std::string_view name) const {
  return core_.slot(parameter_, name, parameter_.type());
}

Expr UpdateRule::count() {
  const Expr done = core_.slot(parameter_, "count", {DType::f64, {}});
  const Expr now = done + 1.0;
  set(done, now);
  return now;
}

void UpdateRule::set(const Expr& leaf, const Expr& value) { updates_.set(leaf, value, guard_); }

Optimizer::Optimizer(detail::RecipeCalls recipe, std::string name, SourceLoc where)
    : learning_rate(nullptr, "learning_rate"), core_(std::make_unique<detail::OptimizerCore>()) {
  learning_rate.core_ = core_.get();
  for (const auto& [setting, value] : recipe.settings) {
    check_setting(recipe, setting, value);
    core_->settings[setting].leaf = state(full({}, value, DType::f64), name + "." + setting, where);
  }
  core_->recipe = std::move(recipe);
}

Optimizer::~Optimizer() = default;

Setting Optimizer::operator[](std::string_view name) {
  core_->setting(name);
  return {core_.get(), std::string(name)};
}

std::vector<Expr> Optimizer::states() const {
  std::vector<Expr> all;
  for (const auto& [name, setting] : core_->settings) all.push_back(setting.leaf);
  all.insert(all.end(), core_->slot_order.begin(), core_->slot_order.end());
  return all;
}

Updates Optimizer::apply(std::span<const Expr> parameters, std::span<const Expr> gradients,
                         const Expr& guard, SourceLoc where) {
  require(parameters.size() == gradients.size(), "apply: ", parameters.size(), " parameters but ",
          gradients.size(), " gradients");
  for (std::size_t i = 0; i < parameters.size(); ++i) {  // all checks come before any slot is made
    if (!stored(parameters[i]) || !gradients[i]) {
      fail({"apply at ", to_string(where), ": only parameters and states can be trained, got ",
            describe(parameters[i]), " with the gradient ", describe(gradients[i])});
    }
    require(parameters[i].type() == gradients[i].type(), describe(parameters[i]), " is ",
            to_string(parameters[i].type()), ", its gradient ", to_string(gradients[i].type()));
  }
  Updates updates;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto name = std::make_shared<const std::string>("update of " + leaf_name(parameters[i]));
    const Origin origin{where, name, {}, {}};
    const OriginScope scope(origin);
    UpdateRule rule(*core_, updates, parameters[i], gradients[i], guard);
    core_->recipe.update(rule);
  }
  return updates;
}

Expr all_finite(std::span<const Expr> values, SourceLoc where) {
  const Origin origin{where, std::make_shared<const std::string>("all_finite"), {}, {}};
  const OriginScope scope(origin);
  Expr result;
  for (const Expr& value : values) {
    const bool is_one = value.shape().size() == 1;
    const Expr finite = is_one ? isfinite(reshape(value, Shape{})) : all(isfinite(value));
    result = result ? logical_and(result, finite) : finite;
  }
  return result ? result : constant(full({}, 1, DType::boolean));
}

Updates minimize(Optimizer& optimizer, const Loss& loss, const MinimizeOptions& options,
                 SourceLoc where) {
  const Expr average = mean(loss);
  std::vector<Expr> roots = loss.penalties;
  roots.push_back(loss.sum);
  const std::vector<Expr> parameters = options.only.empty() ? parameters_of(roots) : options.only;
  require(!parameters.empty(), "minimize at ", to_string(where),
          ": the loss depends on no parameter");
  std::vector<Expr> checked = grad(average, parameters, where);
  const std::vector<Expr> gradients = checked;
  Expr guard;
  if (options.guard_finite) {
    checked.push_back(average);
    guard = all_finite(checked, where);
  }
  return optimizer.apply(parameters, gradients, guard, where);
}

}  // namespace blockgrad
