#pragma once
// What an Optimizer owns: settings per group of parameters, and the slots of each parameter.

#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "blockgrad/optim/optimizer.h"

namespace blockgrad::detail {

/// The settings of some parameters; group 0 holds those of all that fit no other.
struct SettingGroup {
  struct Value {
    Expr leaf;              // f64 scalar
    bool left_out = false;  // it was 0 when a step was built, so no formula reads it
    bool is_read = false;   // a step was built that reads it
    Expr inherits = {};     // but in group 0: a bool state, whether it follows group 0
    Expr follows = {};      // with a schedule: a bool state, whether it is followed
    Expr scheduled = {};    // and the value of the step: the schedule's, or the leaf's
    Schedule schedule = {};

    const Expr& now() const { return scheduled ? scheduled : leaf; }
  };
  std::string pattern;
  std::map<std::string, Value, std::less<>> values;
  bool is_used = false;  // by a step

  /// Throws Error, listing the names, if there is no such setting.
  Value& at(std::string_view name, SourceLoc where);
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
  std::vector<std::vector<Expr>> accumulated;  // sets whose gradients are added up together

  /// A setting's value, of a group and, for group 0, of those that inherit it.
  std::vector<SettingGroup::Value*> written_with(std::size_t group, std::string_view setting,
                                                 SourceLoc where);
  /// Gives settings of a group new values, all of them or none. Throws Error like `check`.
  void write(std::size_t group, std::span<const std::pair<std::string_view, double>> values,
             SourceLoc where);
  void follow(SettingGroup::Value& value, const Schedule& schedule, const std::string& what);
  /// Throws Error for a value that no step may use, or that no built step would see. `what` begins
  /// the message.
  void check(std::string_view setting, const SettingGroup::Value& of, double value,
             const std::string& what) const;
  /// A slot of a parameter, or, for an empty one, of the optimizer.
  Expr slot(const Expr& parameter, std::string_view name, const TensorType& type, SourceLoc where);
  bool has_slot(const Expr& parameter, std::string_view slot_name) const {
    return slots.count({parameter.node(), std::string(slot_name)}) > 0;
  }
  /// The group of a parameter. Throws Error if it fits two.
  SettingGroup& group_of(const Expr& parameter, const std::string& call);
};

/// An optimizer during a call that changes it: without `keep` at the end it is as before.
class OptimizerChange {
 public:
  explicit OptimizerChange(Optimizer& optimizer) : OptimizerChange(*optimizer.core_) {}
  explicit OptimizerChange(OptimizerCore& core) : core_(core), before_(core) {}
  ~OptimizerChange() {
    if (!is_kept_) core_ = std::move(before_);
  }
  OptimizerChange(const OptimizerChange&) = delete;
  OptimizerChange& operator=(const OptimizerChange&) = delete;

  OptimizerCore& core() { return core_; }
  void keep() { is_kept_ = true; }

 private:
  static_assert(std::is_nothrow_move_assignable_v<OptimizerCore>);
  OptimizerCore& core_;
  OptimizerCore before_;
  bool is_kept_ = false;
};

/// Throws Error, beginning with `call`, unless each gradient is of a parameter or state that can be
/// trained, comes once and has its type, and the guard is empty or a bool scalar.
void require_trainable(const Gradients& gradients, const std::string& call);
/// "setting 'momentum' at train.cpp:41", or, without a line, the name of its state.
std::string described_setting(std::string_view name, const SettingGroup::Value& value,
                              SourceLoc where);
/// Files and writers past the optimizer, too, keep what `check` promises.
void check_writes(const std::shared_ptr<OptimizerCore>& core, std::size_t group,
                  std::string_view setting);

/// Whether all of `text` fits the pattern: * any characters, ? one.
bool fits_pattern(std::string_view text, std::string_view pattern);

}  // namespace blockgrad::detail
