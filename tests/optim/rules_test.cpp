// Every rule against its formula, written again in plain double: 100 steps of a linear regression
// in batches of unequal size, with live settings, skipped steps and a resumed run.
#include "blockgrad/optim/rules.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <vector>

#include "blockgrad/blockgrad.h"
#include "tests/optim/by_hand.h"

using namespace blockgrad;
using namespace by_hand;

namespace {

// The same training on the engine: two programs, one per batch size, share parameter and optimizer.
struct Trained {
  DType dtype;
  Expr w;
  Optimizer optimizer;
  Expr x8 = input("x8", {8, 3}, dtype), t8 = input("t8", {8, 1}, dtype);
  Expr x5 = input("x5", {5, 3}, dtype), t5 = input("t5", {5, 1}, dtype);
  Program full, rest;

  template <class Rule>
  explicit Trained(const Rule& rule, DType type = DType::f64)
      : dtype(type),
        w(parameter(tensor({1.0, -2.0, 3.0}, {3, 1}).astype(type), "w")),
        optimizer(rule),
        full(compile({}, minimize(optimizer, mse_loss(matmul(x8, w), t8)))),
        rest(compile({}, minimize(optimizer, mse_loss(matmul(x5, w), t5)))) {}

  void step(std::size_t first, std::size_t rows, bool is_broken = false) {
    const Tensor x = rows_of_x(first, rows).astype(dtype);
    const Tensor t =
        is_broken ? blockgrad::full({static_cast<std::int64_t>(rows), 1}, std::nan(""), dtype)
                  : rows_of_t(first, rows).astype(dtype);
    if (rows == batch_rows) full.run({{x8, x}, {t8, t}});
    else rest.run({{x5, x}, {t5, t}});
  }
};

double difference(const Trained& trained, const ByHand& hand) {
  double worst = 0;
  const Tensor w = trained.w.value();
  for (std::size_t i = 0; i < columns; ++i) {
    const double expected = hand.w[i];
    worst = std::max(worst, std::abs(w.at(static_cast<std::int64_t>(i)) - expected) /
                                std::max(1.0, std::abs(expected)));
  }
  return worst;
}

// Rows of step n: batches of 8, 8 and 5.
std::size_t first_row(int n) { return static_cast<std::size_t>(n % 3) * batch_rows; }
std::size_t rows_of_step(int n) { return n % 3 == 2 ? last_rows : batch_rows; }

template <class Rule>
void compare(Rule rule, double tolerance = 1e-12, DType dtype = DType::f64) {
  Trained trained(rule, dtype);
  ByHand hand;
  for (int n = 0; n < 100; ++n) {
    if (n == 50) {  // the learning rate changes without a new program
      rule.learning_rate /= 2;
      trained.optimizer.learning_rate = rule.learning_rate;
    }
    trained.step(first_row(n), rows_of_step(n));
    hand.step(rule, gradient_by_hand(hand.w, first_row(n), rows_of_step(n)));
    const double worst = difference(trained, hand);
    BOOST_TEST_REQUIRE(worst <= tolerance, "step " << n << ": off by " << worst);
  }
}

template <class Rule>
void skip_broken_steps(const Rule& rule) {
  Trained trained(rule);
  ByHand hand;
  for (int n = 0; n < 30; ++n) {
    if (n % 4 == 1) {  // targets that are NaN: as if the step had not been
      std::vector<Tensor> before;
      for (const Expr& state : trained.optimizer.states()) before.push_back(state.value());
      trained.step(first_row(n), rows_of_step(n), true);
      std::size_t i = 0;
      for (const Expr& state : trained.optimizer.states()) {
        const Tensor now = state.value();
        for (std::int64_t e = 0; e < now.size(); ++e) BOOST_TEST(now.at(e) == before[i].at(e));
        ++i;
      }
      continue;
    }
    trained.step(first_row(n), rows_of_step(n));
    hand.step(rule, gradient_by_hand(hand.w, first_row(n), rows_of_step(n)));
  }
  const double worst = difference(trained, hand);
  BOOST_TEST(worst <= 1e-12);
}

template <class Rule>
void resume(const Rule& rule) {
  Trained one(rule), other(rule);
  for (int n = 0; n < 17; ++n) one.step(first_row(n), rows_of_step(n));
  const std::vector<Expr> from = one.optimizer.states(), to = other.optimizer.states();
  BOOST_TEST_REQUIRE(from.size() == to.size());
  for (std::size_t i = 0; i < from.size(); ++i) {
    BOOST_TEST(leaf_name(from[i]) == leaf_name(to[i]));
    to[i].set_value(from[i].value());
  }
  other.w.set_value(one.w.value());
  for (int n = 17; n < 40; ++n) {
    one.step(first_row(n), rows_of_step(n));
    other.step(first_row(n), rows_of_step(n));
  }
  for (std::int64_t i = 0; i < 3; ++i) BOOST_TEST(one.w.value().at(i) == other.w.value().at(i));
}

// Slots are never subnormal after this gradient and 1200 of 0, and end at 0.
template <class Rule>
void fade_out(const Rule& rule, double gradient, DType dtype = DType::f32) {
  const Expr w = parameter(zeros({40, 3}, dtype), "w"), x = input("x", {}, dtype);
  Optimizer optimizer(rule);
  Program step = compile({}, minimize(optimizer, {sum(w) * x, constant(ones({}, dtype)), {}}));
  const auto fed = [&](double value) { return blockgrad::full({}, value, dtype); };
  const double least = dtype == DType::f64 ? 0x1p-1022 : 0x1p-126;
  step.run({{x, fed(gradient)}});
  bool has_begun = false;
  for (int n = 0; n < 1200; ++n) {
    step.run({{x, fed(0)}});
    for (const Expr& state : optimizer.states()) {
      if (state.shape() != w.shape()) continue;
      const Tensor now = state.value();
      for (std::int64_t i = 0; i < now.size(); ++i) {
        const double size = std::abs(now.at(i));
        has_begun = has_begun || size > 0;
        BOOST_TEST_REQUIRE((size == 0 || size >= least), "step " << n << ": " << size);
      }
    }
  }
  BOOST_TEST(has_begun);
  for (const Expr& state : optimizer.states()) {
    if (state.shape() == w.shape()) BOOST_TEST(state.value().at(7) == 0, leaf_name(state));
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(rules)

BOOST_AUTO_TEST_CASE(slots_that_fade_out_end_at_zero) {
  fade_out(Sgd{.momentum = 0.9}, 1e-30);
  fade_out(Sgd{.momentum = 0.9}, 1e-300, DType::f64);
  fade_out(Sgd{.momentum = 0.9, .nesterov = true}, -1e-30);
  fade_out(Adam{}, -1e-18);
  fade_out(Adam{}, 1e-300, DType::f64);
  fade_out(AdamW{}, 1e-30);
  fade_out(RmsProp{.rho = 0.9}, 1e-18);
}

BOOST_AUTO_TEST_CASE(sgd_follows_its_formula) {
  compare(Sgd{.learning_rate = 0.1});
  compare(Sgd{.learning_rate = 0.1, .weight_decay = 0.05});
  compare(Sgd{.learning_rate = 0.05, .momentum = 0.9});
  compare(Sgd{.learning_rate = 0.05, .momentum = 0.9, .nesterov = true});
  compare(Sgd{.learning_rate = 0.05, .momentum = 0.8, .nesterov = true, .weight_decay = 0.05});
}

BOOST_AUTO_TEST_CASE(adam_follows_its_formula) {
  compare(Adam{});
  compare(Adam{.learning_rate = 0.1, .weight_decay = 0.05});
  compare(Adam{.learning_rate = 0.1, .beta1 = 0.5, .beta2 = 0.9, .eps = 1e-3});
  compare(Adam{.learning_rate = 0.1, .beta1 = 0, .beta2 = 0});
}

BOOST_AUTO_TEST_CASE(adamw_follows_its_formula) {
  compare(AdamW{});
  compare(AdamW{.learning_rate = 0.1, .weight_decay = 0});
  compare(AdamW{.learning_rate = 0.1, .beta1 = 0.8, .weight_decay = 0.3});
}

BOOST_AUTO_TEST_CASE(rmsprop_follows_its_formula) {
  compare(RmsProp{});
  compare(RmsProp{.learning_rate = 0.05, .rho = 0.9, .eps = 1e-3, .weight_decay = 0.05});
}

BOOST_AUTO_TEST_CASE(adagrad_follows_its_formula) {
  compare(Adagrad{});
  compare(Adagrad{.learning_rate = 0.5, .eps = 1e-3, .weight_decay = 0.05});
}

// 1 - beta2 is taken in f64: in f32 it would be off by 5e-5.
BOOST_AUTO_TEST_CASE(f32_parameters_follow_the_formulas_within_their_rounding) {
  compare(Sgd{.learning_rate = 0.05, .momentum = 0.9}, 2e-5, DType::f32);
  compare(Adam{.learning_rate = 0.1}, 2e-5, DType::f32);
  compare(AdamW{.learning_rate = 0.1}, 2e-5, DType::f32);
  compare(RmsProp{}, 2e-5, DType::f32);
  compare(Adagrad{.learning_rate = 0.5}, 2e-5, DType::f32);
}

BOOST_AUTO_TEST_CASE(a_step_that_is_not_finite_changes_no_slot_and_does_not_count) {
  skip_broken_steps(Sgd{.learning_rate = 0.05, .momentum = 0.9});
  skip_broken_steps(Adam{.learning_rate = 0.1});
  skip_broken_steps(AdamW{.learning_rate = 0.1});
  skip_broken_steps(RmsProp{});
  skip_broken_steps(Adagrad{});
}

BOOST_AUTO_TEST_CASE(training_goes_on_from_the_states) {
  resume(Sgd{.learning_rate = 0.05, .momentum = 0.9});
  resume(Adam{.learning_rate = 0.1});
  resume(AdamW{.learning_rate = 0.1});
  resume(RmsProp{});
  resume(Adagrad{});
}

BOOST_AUTO_TEST_CASE(a_constant_gradient_moves_adam_by_its_learning_rate_from_the_first_step) {
  const Expr w = parameter(zeros({}, DType::f64), "w");
  Optimizer optimizer(Adam{.learning_rate = 0.5, .eps = 0});
  Program program = compile({}, minimize(optimizer, {w * 3.0, constant(ones({}, DType::f64)), {}}));
  program.run_many(4);
  BOOST_TEST(std::abs(w.value().at(0) + 2) < 1e-14);
}

BOOST_AUTO_TEST_CASE(settings_outside_their_range_are_refused_when_made_and_when_set) {
  const double nan = std::nan(""), infinite = std::numeric_limits<double>::infinity();
  const auto made = [](auto rule) {
    return without_lines(error_of([&] { Optimizer optimizer(rule); }));
  };
  const auto at = [](const std::string& name) {
    return "setting '" + name + "' at rules_test.cpp:: ";
  };
  BOOST_TEST(made(Sgd{.learning_rate = -1}) ==
             at("learning_rate") + "Sgd: learning_rate must not be negative, got -1");
  BOOST_TEST(made(Sgd{.momentum = -0.5}) ==
             at("momentum") + "Sgd: momentum must not be negative, got -0.5");
  BOOST_TEST(made(Adam{.beta1 = 1}) == at("beta1") + "Adam: beta1 must lie below 1, got 1");
  BOOST_TEST(made(Adam{.eps = nan}) == at("eps") + "must be finite, got nan");
  BOOST_TEST(made(AdamW{.beta2 = 1.5}) == at("beta2") + "AdamW: beta2 must lie below 1, got 1.5");
  BOOST_TEST(made(AdamW{.weight_decay = -1}) ==
             at("weight_decay") + "AdamW: weight_decay must not be negative, got -1");
  BOOST_TEST(made(RmsProp{.rho = -0.1}) ==
             at("rho") + "RmsProp: rho must not be negative, got -0.1");
  BOOST_TEST(made(RmsProp{.eps = infinite}) == at("eps") + "must be finite, got inf");
  BOOST_TEST(made(Adagrad{.eps = -1}) == at("eps") + "Adagrad: eps must not be negative, got -1");
  BOOST_TEST(made(Sgd{.nesterov = true}) ==
             "the optimizer at rules_test.cpp:: Sgd: nesterov wants a momentum above 0, got 0");
  Optimizer optimizer(Adam{});
  BOOST_TEST(without_lines(error_of([&] { optimizer["beta2"] = 1; })) ==
             at("beta2") + "Adam: beta2 must lie below 1, got 1");
  BOOST_TEST(without_lines(error_of([&] { optimizer.learning_rate = -1; })) ==
             at("learning_rate") + "Adam: learning_rate must not be negative, got -1");
  BOOST_TEST(double(optimizer["beta2"]) == 0.999);
  BOOST_TEST(double(optimizer.learning_rate) == 1e-3);
}

BOOST_AUTO_TEST_SUITE_END()
