#include "blockgrad/optim/rules.h"

#include "blockgrad/ops/elementwise.h"

namespace blockgrad {

namespace {

void require_setting(std::string_view recipe, std::string_view name, double value) {
  require(!(value < 0), recipe, ": ", name, " must not be negative, got ", value);
  const bool is_share = name == "beta1" || name == "beta2" || name == "rho";
  require(!is_share || !(value >= 1), recipe, ": ", name, " must lie below 1, got ", value);
}

// The gradient with L2 decay.
Expr decayed_gradient(UpdateRule& rule) {
  const Expr& g = rule.gradient();
  if (!rule.uses("weight_decay")) return g;
  return g + rule.cast(rule.setting("weight_decay")) * rule.parameter();
}

// rate * slot + (1 - rate) * x, kept. What fades out ends at 0: a subnormal times 0.9 may round to
// itself for ever, and many processors take ten times as long for arithmetic on it.
Expr running_mean(UpdateRule& rule, std::string_view slot, std::string_view rate, const Expr& x) {
  const Expr keep = rule.setting(rate);
  const Expr old = rule.slot(slot, keep);
  const Expr mean = flush_subnormal(rule.cast(keep) * old + rule.cast(1.0 - keep) * x);
  rule.set(old, mean);
  return mean;
}

// 1 - rate^count. expm1 keeps the digits that the difference would lose while rate^count is near 1.
Expr correction(const UpdateRule& rule, std::string_view rate, const Expr& count) {
  if (!rule.uses(rate)) return constant(ones({}, DType::f64));  // log(0) is not finite
  return -expm1(count * log(rule.setting(rate)));
}

// w after an Adam step along g.
Expr adam_step(UpdateRule& rule, const Expr& w, const Expr& g) {
  const Expr count = rule.count();
  const Expr m = running_mean(rule, "m", "beta1", g);
  const Expr s = running_mean(rule, "s", "beta2", square(g));
  const Expr rate = rule.cast(rule.setting("learning_rate") / correction(rule, "beta1", count));
  const Expr scale = rule.cast(rsqrt(correction(rule, "beta2", count)));
  return w - rate * (m / (sqrt(s) * scale + rule.cast(rule.setting("eps"))));
}

// w after a step along g, scaled by the root of s.
Expr scaled_step(UpdateRule& rule, const Expr& g, const Expr& s) {
  const Expr rate = rule.cast(rule.setting("learning_rate"));
  return rule.parameter() - rate * (g / (sqrt(s) + rule.cast(rule.setting("eps"))));
}

}  // namespace

std::vector<std::pair<std::string, double>> Sgd::settings() const {
  require(!nesterov || !(momentum <= 0), "Sgd: nesterov wants a momentum above 0, got ", momentum);
  return {{"learning_rate", learning_rate}, {"momentum", momentum}, {"weight_decay", weight_decay}};
}

void Sgd::check(std::string_view name, double value) const { require_setting("Sgd", name, value); }

void Sgd::update(UpdateRule& rule) const {
  const Expr& w = rule.parameter();
  const Expr g = decayed_gradient(rule);
  Expr step = g;
  if (rule.uses("momentum")) {
    const Expr momentum_now = rule.cast(rule.setting("momentum"));
    const Expr slot = rule.slot("velocity", rule.setting("momentum"));
    const Expr v = flush_subnormal(momentum_now * slot + g);
    rule.set(slot, v);
    step = nesterov ? g + momentum_now * v : v;
  }
  rule.set(w, w - rule.cast(rule.setting("learning_rate")) * step);
}

bool Sgd::by_rows(const UpdateRule& rule) const {
  return lazy || (!rule.uses("momentum") && !rule.uses("weight_decay"));
}

std::vector<std::pair<std::string, double>> Adam::settings() const {
  return {{"learning_rate", learning_rate},
          {"beta1", beta1},
          {"beta2", beta2},
          {"eps", eps},
          {"weight_decay", weight_decay}};
}

void Adam::check(std::string_view name, double value) const {
  require_setting("Adam", name, value);
}

void Adam::update(UpdateRule& rule) const {
  const Expr& w = rule.parameter();
  rule.set(w, adam_step(rule, w, decayed_gradient(rule)));
}

bool Adam::by_rows(const UpdateRule&) const { return lazy; }

std::vector<std::pair<std::string, double>> AdamW::settings() const {
  return {{"learning_rate", learning_rate},
          {"beta1", beta1},
          {"beta2", beta2},
          {"eps", eps},
          {"weight_decay", weight_decay}};
}

void AdamW::check(std::string_view name, double value) const {
  require_setting("AdamW", name, value);
}

void AdamW::update(UpdateRule& rule) const {
  const Expr& w = rule.parameter();
  Expr decayed = w;
  if (rule.uses("weight_decay")) {
    decayed = w - rule.cast(rule.setting("learning_rate") * rule.setting("weight_decay")) * w;
  }
  rule.set(w, adam_step(rule, decayed, rule.gradient()));
}

bool AdamW::by_rows(const UpdateRule&) const { return lazy; }

std::vector<std::pair<std::string, double>> RmsProp::settings() const {
  return {
      {"learning_rate", learning_rate}, {"rho", rho}, {"eps", eps}, {"weight_decay", weight_decay}};
}

void RmsProp::check(std::string_view name, double value) const {
  require_setting("RmsProp", name, value);
}

void RmsProp::update(UpdateRule& rule) const {
  const Expr g = decayed_gradient(rule);
  rule.set(rule.parameter(), scaled_step(rule, g, running_mean(rule, "s", "rho", square(g))));
}

bool RmsProp::by_rows(const UpdateRule& rule) const { return lazy || !rule.uses("weight_decay"); }

std::vector<std::pair<std::string, double>> Adagrad::settings() const {
  return {{"learning_rate", learning_rate}, {"eps", eps}, {"weight_decay", weight_decay}};
}

void Adagrad::check(std::string_view name, double value) const {
  require_setting("Adagrad", name, value);
}

void Adagrad::update(UpdateRule& rule) const {
  const Expr g = decayed_gradient(rule);
  const Expr old = rule.slot("s");
  const Expr s = old + square(g);
  rule.set(old, s);
  rule.set(rule.parameter(), scaled_step(rule, g, s));
}

bool Adagrad::by_rows(const UpdateRule& rule) const { return lazy || !rule.uses("weight_decay"); }

}  // namespace blockgrad
