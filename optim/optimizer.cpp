#include "blockgrad/optim/optimizer.h"

#include <algorithm>
#include <unordered_set>

#include "blockgrad/ops/elementwise.h"
#include "optim/core.h"

namespace blockgrad {

namespace detail {

Expr OptimizerCore::slot(const Expr& parameter, std::string_view slot_name, const TensorType& type,
                         SourceLoc where) {
  const std::pair key{parameter.node(), std::string(slot_name)};
  if (const auto known = slots.find(key); known != slots.end()) {
    require(known->second.type() == type, describe(known->second), " is ",
            to_string(known->second.type()), ", asked for at ", to_string(where), " as ",
            to_string(type));
    return known->second;
  }
  const std::string owner = parameter ? leaf_name(parameter) : name;
  const Expr made =
      state(zeros(type.shape, type.dtype), owner + "." + std::string(slot_name), where);
  // Memory first: a slot is known entirely or not at all.
  slot_owners.reserve(slot_owners.size() + 1);
  slot_order.reserve(slot_order.size() + 1);
  slots.emplace(key, made);
  slot_owners.push_back(parameter);
  slot_order.push_back(made);
  return made;
}

void require_trainable(const Gradients& gradients, const std::string& call) {
  const Expr& guard = gradients.guard;
  require(!guard || guard.type() == TensorType{DType::boolean, {}}, call,
          ": the guard must be a bool scalar, got ", guard ? describe(guard) : "", ", ",
          guard ? to_string(guard.type()) : "");
  std::unordered_set<const Node*> seen;
  for (const Gradient& g : gradients.list) {
    const Expr& p = g.parameter;
    if (!p || !stored(p) || !g.value) {
      fail({call, ": only parameters and states can be trained, got ", describe(p),
            " with the gradient ", describe(g.value)});
    }
    require(p.dtype() == DType::f32 || p.dtype() == DType::f64, call, ": ", describe(p),
            " trains as f32 or f64, got ", p.dtype(),
            "; keep it in f32 and convert it with astype where the model uses it");
    require(g.rows || p.type() == g.value.type(), call, ": ", describe(p), " is ",
            to_string(p.type()), ", its gradient ", to_string(g.value.type()));
    require(seen.insert(p.node()).second, call, ": ", describe(p), " comes twice");
  }
}

}  // namespace detail

Optimizer::Optimizer(detail::RecipeCalls recipe, std::string name, SourceLoc where)
    : learning_rate(nullptr, 0, "learning_rate"), core_(std::make_shared<detail::OptimizerCore>()) {
  learning_rate.core_ = core_;
  core_->name = std::move(name);
  core_->recipe = std::move(recipe);
  core_->groups.emplace_back();
  const auto settings = [&] {
    try {
      return core_->recipe.settings();
    } catch (const Error& error) {
      fail({"the optimizer at ", to_string(where), ": ", error.what()});
    }
  };
  for (const auto& [setting, value] : settings()) {
    detail::SettingGroup::Value& own = core_->groups[0].values[setting];
    own.leaf = state(full({}, value, DType::f64), core_->name + "." + setting, where);
    core_->check(setting, own, value, detail::described_setting(setting, own, where));
    detail::check_writes(core_, 0, setting);
  }
}

Optimizer::~Optimizer() = default;

std::vector<Expr> Optimizer::states() const {
  std::vector<Expr> all;
  for (const detail::SettingGroup& group : core_->groups) {
    for (const auto& [name, setting] : group.values) {
      all.push_back(setting.leaf);
      if (setting.inherits) all.push_back(setting.inherits);
      if (setting.follows) all.push_back(setting.follows);
    }
  }
  if (core_->step) all.push_back(core_->step);
  all.insert(all.end(), core_->slot_order.begin(), core_->slot_order.end());
  return all;
}

Expr Optimizer::slot(const Expr& parameter, std::string_view name, const TensorType& type,
                     SourceLoc where) {
  require(parameter && stored(parameter), "slot '", name, "' at ", to_string(where),
          ": only parameters and states have slots");
  return core_->slot(parameter, name, type, where);
}

Updates Optimizer::apply(std::span<const Expr> parameters, std::span<const Expr> gradients,
                         const Expr& guard, SourceLoc where) {
  require(parameters.size() == gradients.size(), "apply at ", to_string(where), ": ",
          parameters.size(), " parameters but ", gradients.size(), " gradients");
  Gradients all;
  all.guard = guard;
  for (std::size_t i = 0; i < parameters.size(); ++i)
    all.list.push_back({parameters[i], gradients[i]});
  return apply(all, false, where);
}

Updates Optimizer::apply(const Gradients& gradients, bool guard_finite, SourceLoc where) {
  const std::string call = "apply at " + to_string(where);
  detail::require_trainable(gradients, call);
  std::string names;
  std::vector<detail::SettingGroup*> groups;
  for (const Gradient& g : gradients.list) {
    groups.push_back(&core_->group_of(g.parameter, call));
    names += (names.empty() ? "" : ", ") + leaf_name(g.parameter);
  }
  for (std::size_t g = 1; g < core_->groups.size(); ++g) {
    const bool is_new = std::find(groups.begin(), groups.end(), &core_->groups[g]) != groups.end();
    require(core_->groups[g].is_used || is_new, call, ": group '", core_->groups[g].pattern,
            "' fits no parameter; there are ", names);
  }
  detail::OptimizerChange change(*this);
  Expr guard = gradients.guard;
  if (guard_finite) {
    const Expr finite = all_finite(gradients.checked, where);
    guard = guard ? logical_and(guard, finite) : finite;
  }
  Updates updates = gradients.updates;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const Gradient& g = gradients.list[i];
    const auto name = std::make_shared<const std::string>("update of " + leaf_name(g.parameter));
    const Origin origin{where, name, {}, {}};
    const OriginScope scope(origin);
    groups[i]->is_used = true;
    core_->trained.push_back(g.parameter);
    UpdateRule rule(*core_, *groups[i], updates, g, guard);
    if (g.rows || core_->has_slot(g.parameter, "last_update")) rule.use_rows();
    core_->recipe.update(rule);
  }
  if (core_->step) updates.set(core_->step, core_->next_step, guard);
  for (const detail::SettingGroup& group : core_->groups) {
    for (const auto& [name, setting] : group.values) {
      if (setting.scheduled) updates.set(setting.leaf, setting.scheduled, guard);
    }
  }
  change.keep();
  return updates;
}

Updates minimize(Optimizer& optimizer, const Loss& loss, const MinimizeOptions& options,
                 SourceLoc where) {
  detail::OptimizerChange change(optimizer);
  Gradients all = gradients(loss, options.only, where);
  if (options.accumulate != 1) all = accumulate(optimizer, all, options.accumulate, {}, where);
  constexpr double none = std::numeric_limits<double>::infinity();
  if (options.clip_value != none) all = clip_by_value(all, options.clip_value, where);
  if (options.clip_norm != none) all = clip_by_global_norm(all, options.clip_norm, where);
  Updates updates = optimizer.apply(all, options.guard_finite, where);
  change.keep();
  return updates;
}

}  // namespace blockgrad
