#include "blockgrad/graph/updates.h"

namespace blockgrad {

namespace {

void check_update(const Expr& leaf, const Expr& value, const Expr& guard) {
  require(leaf && value, "an update needs a leaf and a value");
  if (!stored(leaf)) fail({describe(leaf), ": only parameters and states can be updated"});
  if (!(leaf.type() == value.type())) {
    fail({describe(leaf), " holds ", to_string(leaf.type()), ", its new value from ",
          describe(value), " is ", to_string(value.type())});
  }
  if (guard && !(guard.type() == TensorType{DType::boolean, {}})) {
    fail({"the guard of ", describe(leaf), " must be a bool scalar"});
  }
}

}  // namespace

Updates& Updates::set(const Expr& leaf, const Expr& value, const Expr& guard) {
  check_update(leaf, value, guard);
  for (const Update& update : updates_) {
    if (!(update.leaf == leaf)) continue;
    require(update.value == value && update.guard == guard, describe(leaf),
            " gets two new values: from ", describe(update.value), " and from ", describe(value));
    return *this;
  }
  updates_.push_back({leaf, value, guard});
  return *this;
}

Expr Updates::latest(const Expr& leaf) const {
  for (const Update& update : updates_) {
    if (update.leaf == leaf) return update.value;
  }
  return leaf;
}

Updates& Updates::chain(const Expr& leaf, const Expr& value, const Expr& guard) {
  check_update(leaf, value, guard);
  for (Update& update : updates_) {
    if (!(update.leaf == leaf)) continue;
    update = {leaf, value, guard};
    return *this;
  }
  updates_.push_back({leaf, value, guard});
  return *this;
}

Updates operator+(const Updates& a, const Updates& b) {
  Updates both = a;
  for (const Update& update : b.all()) both.set(update.leaf, update.value, update.guard);
  return both;
}

}  // namespace blockgrad
