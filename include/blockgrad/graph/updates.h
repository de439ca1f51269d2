#pragma once
// Updates: which leaf gets which new value at the end of a run. Every node of the run reads the
// values from before it; updates are written after everything that can fail, or not at all.

#include <span>
#include <vector>

#include "blockgrad/graph/expr.h"

namespace blockgrad {

struct Update {
  Expr leaf;   // parameter or state
  Expr value;  // of the leaf's type
  Expr guard;  // bool scalar, read on the device; empty: always. False: the old value stays
};

class Updates {
 public:
  Updates() = default;

  /// Throws Error if leaf has no storage, if types differ, or if leaf already has another new
  /// value.
  Updates& set(const Expr& leaf, const Expr& value, const Expr& guard = {});
  /// The pending value of a leaf, else the leaf itself: repeated changes chain through it.
  Expr latest(const Expr& leaf) const;
  /// Replaces a pending value by one made from it.
  Updates& chain(const Expr& leaf, const Expr& value, const Expr& guard = {});

  std::span<const Update> all() const { return updates_; }
  bool empty() const { return updates_.empty(); }

 private:
  std::vector<Update> updates_;
};

/// Both; throws Error, naming both lines, if they change the same leaf to different values.
Updates operator+(const Updates& a, const Updates& b);

}  // namespace blockgrad
