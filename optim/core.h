#pragma once
// What an Optimizer owns: settings per group of parameters, and the slots of each parameter.

#include <map>
#include <string>
#include <vector>

#include "blockgrad/optim/optimizer.h"

namespace blockgrad::detail {

/// The settings of some parameters; group 0 holds those of all that fit no other.
struct SettingGroup {
  struct Value {
    Expr leaf;                  // f64 scalar
    bool left_out = false;      // it was 0 when a step was built, so no formula reads it
    bool is_read = false;       // a step was built that reads it
    bool is_inherited = false;  // it follows group 0
    Expr follows = {};          // with a schedule: a bool state, whether it is followed
    Expr scheduled = {};        // and the value of the step: the schedule's, or the leaf's
    Schedule schedule = {};

    const Expr& now() const { return scheduled ? scheduled : leaf; }
  };
  std::string pattern;
  std::map<std::string, Value, std::less<>> values;
  bool is_used = false;  // by a step

  /// Throws Error, listing the names, if there is no such setting.
  Value& at(std::string_view name);
};

struct OptimizerCore {
  std::string name;
  RecipeCalls recipe;
  std::vector<SettingGroup> groups;
  Expr step, next_step;  // f64: updates done, once a setting has a schedule
  std::map<std::pair<const Node*, std::string>, Expr>
      slots;                      // found by parameter and name; listed by slot_order
  std::vector<Expr> slot_owners;  // keep the keys of `slots` alive
  std::vector<Expr> slot_order;
  std::vector<Expr> trained;  // parameters that a step was built for
  std::vector<Expr> swept;    // those of which all rows of a slot with a rate are updated

  /// A setting's value, of a group and, for group 0, of those that inherit it.
  std::vector<SettingGroup::Value*> written_with(std::size_t group, std::string_view setting);
  void follow(SettingGroup::Value& value, const Schedule& schedule);
  /// Throws Error for a value that no step may use.
  void check(std::string_view setting, double value) const;
  Expr slot(const Expr& parameter, std::string_view name, const TensorType& type);
  bool has_slot(const Expr& parameter, std::string_view slot_name) const {
    return slots.count({parameter.node(), std::string(slot_name)}) > 0;
  }
  /// The group of a parameter. Throws Error if it fits two.
  SettingGroup& group_of(const Expr& parameter);
};

/// Whether all of `text` fits the pattern: * any characters, ? one.
bool fits_pattern(std::string_view text, std::string_view pattern);

}  // namespace blockgrad::detail
