#pragma once
// Optimizers: a recipe is a plain struct of numbers and one rule; an Optimizer is the live object
// made from it, with settings the host may write between runs and one set of slots per parameter.
// Both use only nodes and updates, so a user's recipe is the same thing as Sgd. An Optimizer and
// its settings are used by one thread at a time; a call that throws has changed nothing.

#include <concepts>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "blockgrad/optim/gradients.h"
#include "blockgrad/optim/schedules.h"

namespace blockgrad {

namespace detail {
struct OptimizerCore;
struct SettingGroup;
class OptimizerChange;
}  // namespace detail

/// One parameter's view of an update rule. Where the gradient names some rows and the recipe may be
/// run on those alone, parameter, gradient and slots are those rows, and `set` puts them back.
class UpdateRule {
 public:
  UpdateRule(detail::OptimizerCore& core, detail::SettingGroup& group, Updates& updates,
             const Gradient& gradient, Expr guard);

  const Expr& parameter() const { return parameter_; }
  /// The mean gradient, of the type of parameter().
  const Expr& gradient() const { return gradient_.value; }
  /// A setting of the parameter's group as an f64 scalar node; it changes without a new compile.
  Expr setting(std::string_view name) const;
  /// An f64 scalar as the parameter's dtype. What comes near 1 is subtracted before: 1 - 0.999 has
  /// three digits less in f32.
  Expr cast(const Expr& number) const;
  /// Whether a setting differs from 0 now; terms that are 0 are left out, and stay so: see Setting.
  bool uses(std::string_view name) const;
  /// Storage of the parameter's type that belongs to it, zero at first.
  Expr slot(std::string_view name);
  /// The same for a slot that an update with gradient 0 multiplies by `rate`, an f64 scalar: a row
  /// that was left out for some updates gets rate^(updates left out), with the rate of now.
  Expr slot(std::string_view name, const Expr& rate);
  /// The number of this update of the parameter, counted from 1, as an f64 scalar. It is a slot: an
  /// update that its guard holds back does not count, and a resumed run goes on.
  Expr count();
  /// The new value of the parameter or one of its slots.
  void set(const Expr& leaf, const Expr& value);

 private:
  friend class Optimizer;
  void use_rows();
  Expr rows_of(const Expr& leaf);
  Expr caught_up(const Expr& rate);

  detail::OptimizerCore& core_;
  detail::SettingGroup& group_;
  Updates& updates_;
  Gradient gradient_;
  Expr parameter_;  // the leaf, or its rows
  Expr guard_, count_, missed_;
  std::vector<std::pair<Expr, Expr>> rows_;  // rows of a leaf, the leaf
};

/// An argument and the line where it was given.
template <class T>
struct Located {
  T value;
  SourceLoc where;

  template <std::convertible_to<T> From>
  Located(const From& from, SourceLoc at = SourceLoc::here())
      : value(static_cast<T>(from)), where(at) {}
};

/// A number of a live optimizer, for one group of parameters or for all. Assigning takes effect
/// from the next run on; nothing is compiled again. Throws Error for a value that is not finite or
/// that the recipe refuses, and for a term that was 0 when the step was built and is not now; no
/// setting has changed then. Writing the state that holds it, as loading a file does, is checked
/// alike. It may outlive the Optimizer.
///
/// Assigning a schedule, before a step is built, makes the setting follow it: each update takes its
/// value at the number of updates that the optimizer has made, and the setting reads as that of the
/// last one. A number assigned later ends that. All of it is among the optimizer's states.
class Setting {
 public:
  Setting& operator=(Located<double> value);
  Setting& operator=(Located<Schedule> schedule);
  /// The other's value.
  Setting& operator=(const Setting& other) { return *this = Located<double>(other, SourceLoc{}); }
  Setting(const Setting&) = default;
  operator double() const;

 private:
  friend class Optimizer;
  friend class ParameterGroup;
  Setting(std::shared_ptr<detail::OptimizerCore> core, std::size_t group, std::string name)
      : core_(std::move(core)), group_(group), name_(std::move(name)) {}
  std::shared_ptr<detail::OptimizerCore> core_;
  std::size_t group_;
  std::string name_;
};

/// The parameters whose names fit a pattern. A setting that was not given for the group follows the
/// optimizer's until it is assigned here. It may outlive the Optimizer. It cannot be assigned as a
/// whole: that would read as another group and write a learning rate.
class ParameterGroup {
 public:
  Setting learning_rate;
  /// Throws Error, listing the names, if there is no such setting.
  Setting operator[](Located<std::string_view> name) const;
  ParameterGroup(const ParameterGroup&) = default;
  ParameterGroup& operator=(const ParameterGroup&) = delete;

 private:
  friend class Optimizer;
  ParameterGroup(std::shared_ptr<detail::OptimizerCore> core, std::size_t group)
      : learning_rate(core, group, "learning_rate"), core_(std::move(core)), group_(group) {}
  std::shared_ptr<detail::OptimizerCore> core_;
  std::size_t group_;
};

/// A recipe: `settings()` lists its numbers, `update(rule)` writes its formula. Optional:
/// `check(name, value)` throws Error for a value that a setting cannot have; `by_rows(rule)` says
/// whether the formula leaves a row without gradient as it is, slots with a rate aside.
template <class T>
concept OptimizerRecipe = requires(const T& recipe, UpdateRule& rule) {
  { recipe.settings() } -> std::same_as<std::vector<std::pair<std::string, double>>>;
  recipe.update(rule);
};

namespace detail {

/// A recipe of any type.
struct RecipeCalls {
  std::function<std::vector<std::pair<std::string, double>>()> settings;
  std::function<void(UpdateRule&)> update;
  std::function<void(std::string_view, double)> check = [](std::string_view, double) {};
  std::function<bool(const UpdateRule&)> by_rows = [](const UpdateRule&) { return false; };
};

template <OptimizerRecipe Recipe>
RecipeCalls calls_of(const Recipe& recipe) {
  RecipeCalls calls;
  calls.settings = [recipe] { return recipe.settings(); };
  calls.update = [recipe](UpdateRule& rule) { recipe.update(rule); };
  if constexpr (requires(std::string_view name, double value) { recipe.check(name, value); }) {
    calls.check = [recipe](std::string_view name, double value) { recipe.check(name, value); };
  }
  if constexpr (requires(const UpdateRule& rule) { recipe.by_rows(rule); }) {
    calls.by_rows = [recipe](const UpdateRule& rule) { return recipe.by_rows(rule); };
  }
  return calls;
}

}  // namespace detail

class Optimizer {
 public:
  /// `name` is the first part of the settings' names in files. Throws Error for a setting that is
  /// not finite or that the recipe refuses.
  template <OptimizerRecipe Recipe>
  explicit Optimizer(const Recipe& recipe, std::string name = "optimizer",
                     SourceLoc where = SourceLoc::here())
      : Optimizer(detail::calls_of(recipe), std::move(name), where) {}
  ~Optimizer();
  Optimizer(Optimizer&&) = delete;
  Optimizer& operator=(Optimizer&&) = delete;

  Setting learning_rate;
  /// Any other setting by name. Throws Error, listing the names, if there is none.
  Setting operator[](Located<std::string_view> name);

  /// The group of the parameters whose names fit `pattern`, in which * stands for any characters
  /// and ? for one, with settings of its own: `optimizer.group("*.bias", {{"weight_decay", 0}})`.
  /// The same pattern again gives the same group. A parameter may fit one group; building a step
  /// throws Error if one fits two, or if a group fits none. Throws Error for an unknown setting or
  /// a bad value, or if a step was built with one of its parameters.
  ParameterGroup group(std::string_view pattern,
                       std::initializer_list<std::pair<std::string_view, double>> settings = {},
                       SourceLoc where = SourceLoc::here());

  /// All states for saving: settings and slots.
  std::vector<Expr> states() const;
  /// A state that belongs to a parameter, zero at first, saved with the others as "parameter.name".
  /// Throws Error if it is known with another type.
  Expr slot(const Expr& parameter, std::string_view name, const TensorType& type,
            SourceLoc where = SourceLoc::here());

  /// The updates that these gradients make, and those of their transforms, written only where their
  /// guard holds, and, with `guard_finite`, where loss and gradients are finite. Throws Error
  /// unless each is of an f32 or f64 parameter or state of its type that comes once, and the guard
  /// a bool scalar.
  Updates apply(const Gradients& gradients, bool guard_finite = true,
                SourceLoc where = SourceLoc::here());
  /// The updates of these parameters from gradients of their type, written only where `guard`
  /// holds.
  Updates apply(std::span<const Expr> parameters, std::span<const Expr> gradients,
                const Expr& guard = {}, SourceLoc where = SourceLoc::here());

 private:
  Optimizer(detail::RecipeCalls recipe, std::string name, SourceLoc where);
  friend class detail::OptimizerChange;
  std::shared_ptr<detail::OptimizerCore> core_;
};

struct MinimizeOptions {
  std::vector<Expr> only = {};  // parameters to train; empty: all that the loss depends on
  bool guard_finite = true;     // no update from a step whose loss or gradient is not finite
  std::int64_t accumulate = 1;  // runs that make one update together
  double clip_value = std::numeric_limits<double>::infinity();  // of each element of the gradient
  double clip_norm = std::numeric_limits<double>::infinity();   // of all gradients together
};

/// One training step as updates: gradients of mean(loss), accumulated, clipped by value, clipped by
/// norm, checked, then the optimizer's rule.
Updates minimize(Optimizer& optimizer, const Loss& loss, const MinimizeOptions& options = {},
                 SourceLoc where = SourceLoc::here());

}  // namespace blockgrad
