#include "ad_spend/falling_sgd.h"

#include "blockgrad/ops/elementwise.h"

namespace ad_spend {

using namespace blockgrad;

std::vector<std::pair<std::string, double>> FallingSgd::settings() const {
  return {{"learning_rate", learning_rate}, {"momentum", momentum}, {"updates", updates}};
}

void FallingSgd::update(UpdateRule& rule) const {
  const Expr& w = rule.parameter();
  const auto number = [&](std::string_view name) { return astype(rule.setting(name), w.dtype()); };
  const Expr done = rule.slot("updates");
  const Expr rate = number("learning_rate") * minimum(1.0, 2.0 - 2.0 * done / number("updates"));
  rule.set(done, done + 1.0);
  Expr step = rule.gradient();
  if (rule.uses("momentum")) {
    const Expr velocity = rule.slot("velocity");
    step = number("momentum") * velocity + step;
    rule.set(velocity, step);
  }
  rule.set(w, w - rate * step);
}

}  // namespace ad_spend
