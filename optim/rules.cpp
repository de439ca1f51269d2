#include "blockgrad/optim/rules.h"

#include "blockgrad/ops/elementwise.h"

namespace blockgrad {

std::vector<std::pair<std::string, double>> Sgd::settings() const {
  for (const auto& [name, value] :
       {std::pair{"learning_rate", learning_rate}, std::pair{"momentum", momentum},
        std::pair{"weight_decay", weight_decay}}) {
    require(!(value < 0), "Sgd: ", name, " must not be negative, got ", value);
  }
  require(!nesterov || momentum > 0, "Sgd: nesterov wants a momentum above 0, got ", momentum);
  return {{"learning_rate", learning_rate}, {"momentum", momentum}, {"weight_decay", weight_decay}};
}

void Sgd::update(UpdateRule& rule) const {
  const Expr& w = rule.parameter();
  const DType dtype = w.dtype();
  const auto number = [&](std::string_view name) { return astype(rule.setting(name), dtype); };
  Expr g = rule.gradient();
  if (rule.uses("weight_decay")) g = g + number("weight_decay") * w;
  Expr step = g;
  if (rule.uses("momentum")) {
    const Expr slot = rule.slot("velocity");
    const Expr v = number("momentum") * slot + g;
    rule.set(slot, v);
    step = nesterov ? g + number("momentum") * v : v;
  }
  rule.set(w, w - number("learning_rate") * step);
}

}  // namespace blockgrad
