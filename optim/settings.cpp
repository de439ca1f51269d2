// Settings and groups of parameters.
#include <algorithm>
#include <cmath>

#include "blockgrad/graph/stored.h"
#include "blockgrad/ops/elementwise.h"
#include "optim/core.h"

namespace blockgrad {

namespace detail {

namespace {

bool inherits(const SettingGroup::Value& value) {
  return value.inherits && value.inherits.value().at(0) != 0;
}

}  // namespace

SettingGroup::Value& SettingGroup::at(std::string_view name, SourceLoc where) {
  const auto found = values.find(name);
  if (found == values.end()) {
    std::string all;
    for (const auto& [known, value] : values) all += (all.empty() ? "" : ", ") + known;
    fail(
        {"setting '", name, "' at ", to_string(where), ": there is none; the optimizer has ", all});
  }
  return found->second;
}

std::string described_setting(std::string_view name, const SettingGroup::Value& value,
                              SourceLoc where) {
  if (where.line == 0) return "'" + leaf_name(value.leaf) + "'";
  return join({"setting '", name, "' at ", to_string(where)});
}

void OptimizerCore::check(std::string_view setting, const SettingGroup::Value& of, double value,
                          const std::string& what) const {
  require(std::isfinite(value), what, ": must be finite, got ", value);
  try {
    recipe.check(setting, value);
  } catch (const Error& error) {
    fail({what, ": ", error.what()});
  }
  require(value == 0 || !of.left_out, what,
          ": it was 0 when a step was built and its term left out; build the step again with the "
          "new value");
}

// A value that a schedule gives is written by programs, and read back from their files.
void check_writes(const std::shared_ptr<OptimizerCore>& core, std::size_t group,
                  std::string_view setting) {
  const auto check = [weak = std::weak_ptr(core), group,
                      name = std::string(setting)](const Tensor& written) {
    const std::shared_ptr<OptimizerCore> live = weak.lock();
    if (!live) return;
    const SettingGroup::Value& value = live->groups[group].at(name, {});
    if (!value.scheduled)
      live->check(name, value, written.at(0), described_setting(name, value, {}));
  };
  stored(core->groups[group].at(setting, {}).leaf)->set_check(check);
}

std::vector<SettingGroup::Value*> OptimizerCore::written_with(std::size_t group,
                                                              std::string_view setting,
                                                              SourceLoc where) {
  std::vector<SettingGroup::Value*> written = {&groups[group].at(setting, where)};
  for (std::size_t g = 1; group == 0 && g < groups.size(); ++g) {
    SettingGroup::Value& own = groups[g].at(setting, where);
    if (inherits(own)) written.push_back(&own);
  }
  return written;
}

void OptimizerCore::write(std::size_t group,
                          std::span<const std::pair<std::string_view, double>> settings,
                          SourceLoc where) {
  std::vector<std::shared_ptr<Stored>> storages;
  std::vector<Tensor> values;
  const auto add = [&](const Expr& leaf, const Tensor& value) {
    if (!leaf) return;
    storages.push_back(stored(leaf));
    values.push_back(value);
  };
  for (const auto& [setting, value] : settings) {
    const auto written = written_with(group, setting, where);
    for (const auto* one : written) {
      check(setting, *one, value, described_setting(setting, *written[0], where));
      add(one->leaf, full({}, value, DType::f64));
      add(one->follows, zeros({}, DType::boolean));
    }
    add(written[0]->inherits, zeros({}, DType::boolean));
  }
  Stored::set_values(storages, values);
}

void OptimizerCore::follow(SettingGroup::Value& value, const Schedule& schedule,
                           const std::string& what) {
  const Expr counter = step ? step : state(zeros({}, DType::f64), name + ".step");
  const Expr scheduled = schedule.at(counter);
  require(scheduled && scheduled.type() == TensorType{DType::f64, {}}, what,
          ": a schedule must give an f64 scalar, got ",
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

SettingGroup& OptimizerCore::group_of(const Expr& parameter, const std::string& call) {
  const std::string of = leaf_name(parameter);
  SettingGroup* found = nullptr;
  for (std::size_t g = 1; g < groups.size(); ++g) {
    if (!fits_pattern(of, groups[g].pattern)) continue;
    require(!found, call, ": ", describe(parameter), " fits two groups, '",
            found ? found->pattern : "", "' and '", groups[g].pattern, "'");
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

Setting& Setting::operator=(Located<double> value) {
  const std::pair<std::string_view, double> one[] = {{name_, value.value}};
  core_->write(group_, one, value.where);
  return *this;
}

Setting& Setting::operator=(Located<Schedule> schedule) {
  const auto [value, where] = schedule;
  detail::OptimizerChange change(*core_);
  const auto written = core_->written_with(group_, name_, where);
  const std::string what = detail::described_setting(name_, *written[0], where);
  require(static_cast<bool>(value.at), what, ": the schedule is empty");
  for (const auto* one : written) {
    require(!one->is_read && !one->left_out, what,
            ": a step was built before; assign the schedule first");
  }
  for (auto* one : written) core_->follow(*one, value, what);
  if (written[0]->inherits) written[0]->inherits.set_value(zeros({}, DType::boolean));
  change.keep();
  return *this;
}

Setting::operator double() const { return core_->groups[group_].at(name_, {}).leaf.value().at(0); }

Setting ParameterGroup::operator[](Located<std::string_view> name) const {
  core_->groups[group_].at(name.value, name.where);
  return {core_, group_, std::string(name.value)};
}

Setting Optimizer::operator[](Located<std::string_view> name) {
  core_->groups[0].at(name.value, name.where);
  return {core_, 0, std::string(name.value)};
}

ParameterGroup Optimizer::group(std::string_view pattern,
                                std::initializer_list<std::pair<std::string_view, double>> settings,
                                SourceLoc where) {
  const std::string call = join({"group '", pattern, "' at ", to_string(where)});
  require(!pattern.empty(), "group at ", to_string(where), ": the pattern is empty");
  for (auto one = settings.begin(); one != settings.end(); ++one) {
    const bool is_first = std::none_of(
        settings.begin(), one, [&](const auto& before) { return before.first == one->first; });
    require(is_first, call, ": setting '", one->first, "' is given twice");
  }
  const auto known = std::find_if(core_->groups.begin() + 1, core_->groups.end(),
                                  [&](const auto& group) { return group.pattern == pattern; });
  const auto number = static_cast<std::size_t>(known - core_->groups.begin());
  detail::OptimizerChange change(*core_);
  if (number == core_->groups.size()) {
    for (const Expr& p : core_->trained) {
      require(!detail::fits_pattern(leaf_name(p), pattern), call, ": a step was built with ",
              describe(p), " before; make groups first");
    }
    detail::SettingGroup made{std::string(pattern), {}, false};
    for (const auto& [name, value] : core_->groups[0].values) {
      auto& own = made.values[name];
      const std::string own_name = join({core_->name, "[", pattern, "].", name});
      own.leaf = state(value.leaf.value(), own_name, where);
      own.inherits = state(ones({}, DType::boolean), own_name + ".inherits", where);
      if (value.scheduled) core_->follow(own, value.schedule, call);
    }
    core_->groups.push_back(std::move(made));
    for (const auto& [name, value] : core_->groups[0].values)
      detail::check_writes(core_, number, name);
  }
  core_->write(number, {settings.begin(), settings.size()}, where);
  const ParameterGroup group(core_, number);
  change.keep();
  return group;
}

}  // namespace blockgrad
