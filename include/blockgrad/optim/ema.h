#pragma once
// An exponential moving average of parameters, kept beside them: often better for evaluation than
// the last values (Polyak and Juditsky 1992).

#include <span>
#include <vector>

#include "blockgrad/graph/updates.h"

namespace blockgrad {

class Ema {
 public:
  /// Averages start at the parameters' values now. Throws Error unless 0 <= decay < 1, or if
  /// something else than a floating parameter or state is given.
  Ema(std::span<const Expr> parameters, double decay, SourceLoc where = SourceLoc::here());
  Ema(std::initializer_list<Expr> parameters, double decay, SourceLoc where = SourceLoc::here())
      : Ema(std::span(parameters.begin(), parameters.size()), decay, where) {}

  /// These updates and e = decay * e + (1 - decay) * w for each parameter that they change, w being
  /// its new value; where an update is held back by its guard, so is the average.
  Updates update(const Updates& updates, SourceLoc where = SourceLoc::here()) const;
  /// The average of a parameter: a state. Throws Error if there is none.
  const Expr& average(const Expr& parameter) const;
  /// All averages, for saving.
  std::span<const Expr> states() const { return averages_; }

 private:
  double decay_;
  std::vector<Expr> parameters_, averages_;
};

}  // namespace blockgrad
