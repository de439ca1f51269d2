#include "blockgrad/optim/ema.h"

#include <algorithm>

#include "blockgrad/ops/elementwise.h"

namespace blockgrad {

Ema::Ema(std::span<const Expr> parameters, double decay, SourceLoc where) : decay_(decay) {
  require(decay >= 0 && decay < 1, "Ema at ", to_string(where), ": decay must lie in [0, 1), got ",
          decay);
  for (const Expr& p : parameters) {
    require(p && stored(p) && is_floating(p.dtype()), "Ema at ", to_string(where),
            ": only floating parameters and states are averaged, got ",
            p ? describe(p) : "an empty Expr");
    parameters_.push_back(p);
    averages_.push_back(state(p.value(), leaf_name(p) + ".average", where));
  }
}

Updates Ema::update(const Updates& updates, SourceLoc where) const {
  const Origin origin{where, std::make_shared<const std::string>("ema_update"), {}, {}};
  const OriginScope scope(origin);
  Updates all = updates;
  for (const Update& update : updates.all()) {
    const auto found = std::find(parameters_.begin(), parameters_.end(), update.leaf);
    if (found == parameters_.end()) continue;
    const Expr& e = averages_[static_cast<std::size_t>(found - parameters_.begin())];
    all.set(e, decay_ * e + (1 - decay_) * update.value, update.guard);
  }
  return all;
}

const Expr& Ema::average(const Expr& parameter) const {
  const auto found = std::find(parameters_.begin(), parameters_.end(), parameter);
  require(found != parameters_.end(), "the Ema has no average of ", describe(parameter));
  return averages_[static_cast<std::size_t>(found - parameters_.begin())];
}

}  // namespace blockgrad
