// Settings and groups of parameters.
#include <algorithm>
#include <cmath>

#include "blockgrad/graph/stored.h"
#include "blockgrad/ops/elementwise.h"
#include "optim/core.h"

namespace blockgrad {

namespace detail {

SettingGroup::Value& SettingGroup::at(std::string_view name) {
  const auto found = values.find(name);
  if (found == values.end()) {
    std::string all;
    for (const auto& [known, value] : values) all += (all.empty() ? "" : ", ") + known;
    fail({"the optimizer has no setting '", name, "'; it has ", all});
  }
  return found->second;
}

void OptimizerCore::check(std::string_view setting, double value) const {
  require(std::isfinite(value), "setting '", setting, "' must be finite, got ", value);
  recipe.check(setting, value);
}

std::vector<SettingGroup::Value*> OptimizerCore::written_with(std::size_t group,
                                                              std::string_view setting) {
  std::vector<SettingGroup::Value*> written = {&groups[group].at(setting)};
  for (std::size_t g = 1; group == 0 && g < groups.size(); ++g) {
    SettingGroup::Value& own = groups[g].at(setting);
    if (own.is_inherited) written.push_back(&own);
  }
  return written;
}

void OptimizerCore::follow(SettingGroup::Value& value, const Schedule& schedule) {
  const Expr counter = step ? step : state(zeros({}, DType::f64), name + ".step");
  const Expr scheduled = schedule.at(counter);
  require(scheduled && scheduled.type() == TensorType{DType::f64, {}},
          "a schedule must give an f64 scalar, got ",
          scheduled ? to_string(scheduled.type()) : "an empty Expr");
  if (!step) {
    step = counter;
    next_step = step + 1.0;
  }
  if (!value.follows)
    value.follows = state(full({}, 1, DType::boolean), leaf_name(value.leaf) + ".follows");
  value.scheduled = where(value.follows, scheduled, value.leaf);
  value.schedule = schedule;
}

SettingGroup& OptimizerCore::group_of(const Expr& parameter) {
  const std::string of = leaf_name(parameter);
  SettingGroup* found = nullptr;
  for (std::size_t g = 1; g < groups.size(); ++g) {
    if (!fits_pattern(of, groups[g].pattern)) continue;
    require(!found, describe(parameter), " fits two groups, '", found ? found->pattern : "",
            "' and '", groups[g].pattern, "'");
    found = &groups[g];
  }
  return found ? *found : groups[0];
}

// Where the text goes another way than the latest *, that * takes one character more.
bool fits_pattern(std::string_view text, std::string_view pattern) {
  std::size_t t = 0, p = 0, star = pattern.size(), after_star = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      after_star = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star < pattern.size()) {
      p = star + 1;
      t = ++after_star;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

}  // namespace detail

Setting& Setting::operator=(double value) {
  core_->check(name_, value);
  const std::vector<detail::SettingGroup::Value*> written = core_->written_with(group_, name_);
  std::vector<std::shared_ptr<Stored>> storages;
  std::vector<Tensor> values;
  for (const auto* one : written) {
    require(
        value == 0 || !one->left_out, "setting '", name_,
        "' was 0 when a step was built and its term left out; build the step again with the new "
        "value");
    storages.push_back(stored(one->leaf));
    values.push_back(full({}, value, DType::f64));
    if (!one->follows) continue;
    storages.push_back(stored(one->follows));
    values.push_back(zeros({}, DType::boolean));
  }
  Stored::set_values(storages, values);
  if (group_ != 0) written[0]->is_inherited = false;
  return *this;
}

Setting& Setting::operator=(const Schedule& schedule) {
  require(static_cast<bool>(schedule.at), "setting '", name_, "': the schedule is empty");
  const std::vector<detail::SettingGroup::Value*> written = core_->written_with(group_, name_);
  for (const auto* one : written) {
    require(!one->is_read && !one->left_out, "setting '", name_,
            "': a step was built before; assign the schedule first");
  }
  for (auto* one : written) core_->follow(*one, schedule);
  if (group_ != 0) written[0]->is_inherited = false;
  return *this;
}

Setting::operator double() const { return core_->groups[group_].at(name_).leaf.value().at(0); }

Setting ParameterGroup::operator[](std::string_view name) const {
  core_->groups[group_].at(name);
  return {core_, group_, std::string(name)};
}

Setting Optimizer::operator[](std::string_view name) {
  core_->groups[0].at(name);
  return {core_.get(), 0, std::string(name)};
}

ParameterGroup Optimizer::group(std::string_view pattern,
                                std::initializer_list<std::pair<std::string_view, double>> settings,
                                SourceLoc where) {
  require(!pattern.empty(), "group at ", to_string(where), ": the pattern is empty");
  for (const auto& [name, value] : settings) {
    core_->groups[0].at(name);
    core_->check(name, value);
  }
  const auto known = std::find_if(core_->groups.begin() + 1, core_->groups.end(),
                                  [&](const auto& group) { return group.pattern == pattern; });
  const auto number = static_cast<std::size_t>(known - core_->groups.begin());
  const ParameterGroup group(core_.get(), number);
  if (known == core_->groups.end()) {
    for (const Expr& p : core_->trained) {
      require(!detail::fits_pattern(leaf_name(p), pattern), "group '", pattern, "' at ",
              to_string(where), ": a step was built with ", describe(p),
              " before; make groups first");
    }
    detail::SettingGroup made{std::string(pattern), {}, false};
    for (const auto& [name, value] : core_->groups[0].values) {
      auto& own = made.values[name];
      own.leaf = state(value.leaf.value(), join({core_->name, "[", pattern, "].", name}), where);
      own.is_inherited = true;
      if (value.scheduled) core_->follow(own, value.schedule);
    }
    core_->groups.push_back(std::move(made));
  }
  for (const auto& [name, value] : settings) group[name] = value;
  return group;
}

}  // namespace blockgrad
