#pragma once
// Audit: what gradients meet on their way back from a value: leaves they do not reach, places where
// they end, and formulas that are differentiated in a more stable form. A value.

#include <span>
#include <string>
#include <vector>

#include "blockgrad/graph/expr.h"

namespace blockgrad {

struct AuditEntry {
  enum class Kind {
    missing,    // an op gives no gradient, or a wrong one, and does not declare it
    unreached,  // a wanted value that gets no gradient
    flat,       // a wanted value that is only reached through slopes of 0: its gradient is 0
    stopped,    // stop_gradient
    cut,        // a comparison, a cast to or from integers, or an op that declares no gradient
    level,      // an op of slope 0 everywhere: floor, ceil, round, sign
    rewritten,  // the log of a softmax or sigmoid, differentiated as log_softmax or logsigmoid
  };
  Kind kind = Kind::missing;
  Expr node;         // the op where it happens, or the wanted value
  int input = -1;    // of the op; -1: none in particular
  std::string text;  // the whole finding: op, scope, line and why

  /// Whether `grad` refuses because of it.
  bool is_error() const { return kind == Kind::missing || kind == Kind::unreached; }
};

struct Audit {
  /// Errors first, then values whose gradient is 0, then the rest from the output to the inputs.
  std::vector<AuditEntry> entries;

  /// Every wanted value gets a gradient that is not 0 by construction.
  bool ok() const;
  bool has_errors() const;
};

/// One line per entry: "stop_gradient (train.cpp:41): no gradient flows to multiply
/// (train.cpp:40)"; "every wanted value gets a gradient" if there is none.
std::string to_string(const Audit& audit);

/// What the gradient of y with respect to `wrt` meets; empty: all parameters that y depends on.
/// Throws Error only where the question has no meaning: y is empty or not floating.
Audit audit(const Expr& y, std::span<const Expr> wrt = {}, SourceLoc where = SourceLoc::here());

}  // namespace blockgrad
