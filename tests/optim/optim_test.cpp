// Update rules against an independent recurrence in double, and the settings of a live optimizer.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <vector>

#include "blockgrad/blockgrad.h"
#include "tests/optim/by_hand.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

using by_hand::error_of;
using by_hand::without_lines;

namespace {

// The loss 1/2 sum_i c_i (w_i - t_i)^2, whose gradient is c (w - t), written out by hand for the
// reference.
struct Bowl {
  Expr w = parameter(tensor({1.0, -2.0, 3.0}, {3}), "w");
  std::vector<double> c = {1.0, 0.3, 2.0}, t = {0.5, 0.0, -1.0};

  Loss loss() const {
    const Expr distance = w - constant(tensor(std::span<const double>(t), {3}));
    return {sum(square(distance) * constant(tensor(std::span<const double>(c), {3})) * 0.5),
            constant(ones({}, DType::f64)),
            {}};
  }
};

// The formula of the recipe's comment, in plain double.
struct Recurrence {
  Sgd sgd;
  std::vector<double> w, v;

  void step(const Bowl& bowl) {
    for (std::size_t i = 0; i < w.size(); ++i) {
      double g = bowl.c[i] * (w[i] - bowl.t[i]);
      g += sgd.weight_decay * w[i];
      v[i] = sgd.momentum * v[i] + g;
      w[i] -= sgd.learning_rate * (sgd.nesterov ? g + sgd.momentum * v[i] : v[i]);
    }
  }
};

void compare(const Sgd& recipe) {
  Bowl bowl;
  Optimizer optimizer(recipe);
  Program program = compile({}, minimize(optimizer, bowl.loss()));
  Recurrence expected{recipe, {1, -2, 3}, {0, 0, 0}};
  for (int step = 0; step < 100; ++step) {
    if (step == 50) {  // the learning rate changes without a new program
      optimizer.learning_rate = 0.01;
      expected.sgd.learning_rate = 0.01;
    }
    program.run();
    expected.step(bowl);
    for (std::size_t i = 0; i < 3; ++i) {
      const double w = bowl.w.value().span<double>()[i];
      BOOST_TEST_REQUIRE(std::abs(w - expected.w[i]) <= 1e-14 * std::max(1.0, std::abs(w)),
                         "step " << step << ": " << w << " instead of " << expected.w[i]);
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(optim)

BOOST_AUTO_TEST_CASE(plain_descent_follows_its_formula) { compare({.learning_rate = 0.1}); }
BOOST_AUTO_TEST_CASE(momentum_follows_its_formula) {
  compare({.learning_rate = 0.1, .momentum = 0.9});
}
BOOST_AUTO_TEST_CASE(nesterov_follows_its_formula) {
  compare({.learning_rate = 0.1, .momentum = 0.9, .nesterov = true});
}
BOOST_AUTO_TEST_CASE(weight_decay_follows_its_formula) {
  compare({.learning_rate = 0.1, .weight_decay = 0.05});
}
BOOST_AUTO_TEST_CASE(all_terms_together_follow_their_formula) {
  compare({.learning_rate = 0.1, .momentum = 0.8, .nesterov = true, .weight_decay = 0.05});
}

BOOST_AUTO_TEST_CASE(run_many_follows_the_formula_too) {
  Bowl bowl;
  Optimizer optimizer(Sgd{.learning_rate = 0.1, .momentum = 0.9});
  compile({}, minimize(optimizer, bowl.loss())).run_many(100);
  Recurrence expected{{.learning_rate = 0.1, .momentum = 0.9}, {1, -2, 3}, {0, 0, 0}};
  for (int step = 0; step < 100; ++step) expected.step(bowl);
  for (std::size_t i = 0; i < 3; ++i)
    BOOST_TEST(std::abs(bowl.w.value().span<double>()[i] - expected.w[i]) < 1e-14);
}

BOOST_AUTO_TEST_CASE(a_term_that_was_left_out_cannot_come_back_without_a_new_step) {
  Bowl bowl;
  Optimizer optimizer(Sgd{.learning_rate = 0.1});
  optimizer["momentum"] = 0.5;  // nothing is built yet
  optimizer["momentum"] = 0.0;
  Program program = compile({}, minimize(optimizer, bowl.loss()));
  BOOST_TEST(without_lines(error_of([&] { optimizer["momentum"] = 0.9; })) ==
             "setting 'momentum' at optim_test.cpp:: it was 0 when a step was built and its term "
             "left out; build the step again with the new value");
  BOOST_TEST(double(optimizer["momentum"]) == 0);
  optimizer["momentum"] = 0.0;
  optimizer.learning_rate = 0;
  const Tensor before = bowl.w.value();
  program.run();
  BOOST_TEST(bowl.w.value().at(0) == before.at(0));
  optimizer.learning_rate = 0.1;
  program.run();
  BOOST_TEST(bowl.w.value().at(0) != before.at(0));
}

BOOST_AUTO_TEST_CASE(settings_are_checked_and_listed) {
  Optimizer optimizer(Sgd{});
  BOOST_TEST(double(optimizer.learning_rate) == 0.01);
  BOOST_TEST(contains(error_of([&] { optimizer["rate"]; }),
                      ": there is none; the optimizer has learning_rate, momentum, weight_decay"));
  BOOST_TEST(error_of([&] { optimizer["rate"]; }).starts_with("setting 'rate' at optim_test.cpp:"));
  BOOST_TEST(
      contains(error_of([&] { optimizer.learning_rate = std::numeric_limits<double>::infinity(); }),
               "must be finite, got inf"));
  BOOST_TEST(double(optimizer.learning_rate) == 0.01);
  BOOST_TEST(contains(error_of([] { Optimizer bad(Sgd{.learning_rate = std::nan("")}); }),
                      "must be finite"));
  BOOST_TEST(contains(error_of([] { Optimizer bad(Sgd{.nesterov = true}); }),
                      "nesterov wants a momentum above 0, got 0"));
}

BOOST_AUTO_TEST_CASE(f32_parameters_keep_f64_settings) {
  const Expr w = parameter(ones({2}), "w");
  Optimizer optimizer(Sgd{.learning_rate = 0.1});
  compile({}, minimize(optimizer, {sum(w), constant(ones({})), {}})).run();
  BOOST_TEST(w.value().span<float>()[0] == 1.0f - 0.1f);
  BOOST_TEST((optimizer.states()[0].dtype() == DType::f64));
}

BOOST_AUTO_TEST_CASE(only_named_parameters_are_trained) {
  const Expr a = parameter(ones({}, DType::f64), "a"), b = parameter(ones({}, DType::f64), "b");
  Optimizer optimizer(Sgd{.learning_rate = 0.1});
  compile({}, minimize(optimizer, {a * b, constant(ones({}, DType::f64)), {}}, {.only = {a}}))
      .run();
  BOOST_TEST(a.value().at(0) == 0.9);
  BOOST_TEST(b.value().at(0) == 1);
}

BOOST_AUTO_TEST_CASE(a_parameter_used_twice_has_one_update_from_both_uses) {
  const Expr w = parameter(full({2, 2}, 0.5, DType::f64), "w"),
             x = constant(ones({2, 2}, DType::f64));
  Optimizer optimizer(Sgd{.learning_rate = 1});
  const Updates updates =
      minimize(optimizer, {sum(matmul(matmul(x, w), w)), constant(ones({}, DType::f64)), {}});
  BOOST_TEST(updates.all().size() == 1);
  compile({}, updates).run();
  BOOST_TEST(w.value().at(0) == 0.5 - (2 * 1.0 + 2 * 1.0));
}

BOOST_AUTO_TEST_CASE(two_steps_of_one_optimizer_share_its_velocity) {
  Bowl bowl;
  Optimizer optimizer(Sgd{.learning_rate = 0.1, .momentum = 0.9});
  Program one = compile({}, minimize(optimizer, bowl.loss())),
          two = compile({}, minimize(optimizer, bowl.loss()));
  one.run();
  two.run();
  Recurrence expected{{.learning_rate = 0.1, .momentum = 0.9}, {1, -2, 3}, {0, 0, 0}};
  expected.step(bowl);
  expected.step(bowl);
  BOOST_TEST(std::abs(bowl.w.value().at(2) - expected.w[2]) < 1e-14);
  BOOST_TEST(optimizer.states().size() == 4);
}

BOOST_AUTO_TEST_CASE(mistakes_of_a_step_are_named) {
  Optimizer optimizer(Sgd{});
  const Expr x = input("x", {}, DType::f64), w = parameter(ones({2}), "w");
  BOOST_TEST(
      contains(error_of([&] { minimize(optimizer, {x, constant(ones({}, DType::f64)), {}}); }),
               "gradients asked for at optim_test.cpp:"));
  const Expr parameters[] = {w}, gradients[] = {x};
  BOOST_TEST(contains(error_of([&] { optimizer.apply(parameters, gradients); }),
                      "parameter 'w' (optim_test.cpp:"));
  BOOST_TEST(contains(error_of([&] { optimizer.apply(parameters, {}); }),
                      ": 1 parameters but 0 gradients"));
  BOOST_TEST(without_lines(error_of([&] { optimizer.slot(x, "m", x.type()); })) ==
             "slot 'm' at optim_test.cpp:: only parameters and states have slots");
  optimizer.slot(w, "m", w.type());
  BOOST_TEST(without_lines(error_of([&] { optimizer.slot(w, "m", x.type()); })) ==
             "state 'w.m' (optim_test.cpp:) is f32[2], asked for at optim_test.cpp: as f64[]");
}

// Whatever a call throws, the optimizer has no slot, group or promise more than before.
BOOST_AUTO_TEST_CASE(a_step_that_cannot_be_built_changes_nothing) {
  struct Failing {
    std::vector<std::pair<std::string, double>> settings() const {
      return {{"learning_rate", 0.25}, {"decay", 0}};
    }
    void update(UpdateRule& rule) const {
      rule.uses("decay");
      rule.slot("m");
      require(false, "this recipe fails");
    }
  };
  const Expr w = parameter(ones({2}, DType::f64), "w"), x = input("x", {2}, DType::f64);
  const Loss loss{sum(square(w * x)), constant(ones({}, DType::f64)), {}};
  const auto refuses = [&](Optimizer& optimizer, const MinimizeOptions& options,
                           const std::string& end) {
    const std::size_t states = optimizer.states().size();
    const std::string text = without_lines(error_of([&] { minimize(optimizer, loss, options); }));
    BOOST_TEST(text.ends_with(end), text);
    BOOST_TEST(optimizer.states().size() == states);
    optimizer[optimizer.states().size() > 2 ? "momentum" : "decay"] = 0.5;  // nothing is left out
    optimizer.group("w*");                                                  // no step trains w
  };
  for (const std::int64_t accumulate : {1, 3}) {
    Optimizer sgd(Sgd{}), grouped(Sgd{}), failing{Failing{}};
    refuses(sgd, {.only = {w, w}, .accumulate = accumulate},
            "parameter 'w' (optim_test.cpp:) comes twice");
    Optimizer other(Sgd{});
    const std::string text = without_lines(
        error_of([&] { minimize(other, loss, {.only = {w, x}, .accumulate = accumulate}); }));
    BOOST_TEST(contains(text,
                        " at optim_test.cpp:: only parameters and states can be trained, got "
                        "input 'x' (optim_test.cpp:) with the gradient "),
               text);
    BOOST_TEST(other.states().size() == 3);
    grouped.group("b*");
    refuses(grouped, {.accumulate = accumulate}, ": group 'b*' fits no parameter; there are w");
    refuses(failing, {.accumulate = accumulate}, "this recipe fails");
  }
}

BOOST_AUTO_TEST_CASE(a_guard_is_a_bool_scalar) {
  const Expr w = parameter(ones({2}), "w"), parameters[] = {w}, gradients[] = {w * 2.0};
  Optimizer optimizer(Sgd{.momentum = 0.5});
  for (const Expr& guard : {input("g", {}), input("g", {2}, DType::boolean)}) {
    const std::string text =
        without_lines(error_of([&] { optimizer.apply(parameters, gradients, guard); }));
    BOOST_TEST(text ==
               "apply at optim_test.cpp:: the guard must be a bool scalar, got input 'g' "
               "(optim_test.cpp:), " +
                   to_string(guard.type()));
    BOOST_TEST(optimizer.states().size() == 3);
  }
}

BOOST_AUTO_TEST_CASE(states_that_are_loaded_keep_what_settings_promise) {
  Bowl bowl;
  Optimizer plain(Sgd{}), decaying(Sgd{.weight_decay = 0.5});
  minimize(plain, bowl.loss());
  const auto copy = [&] {
    for (std::size_t i = 0; i < 3; ++i) plain.states()[i].set_value(decaying.states()[i].value());
  };
  BOOST_TEST(error_of(copy) ==
             "'optimizer.weight_decay': it was 0 when a step was built and its term left out; "
             "build the step again with the new value");
  BOOST_TEST(double(plain["weight_decay"]) == 0);
  decaying["weight_decay"] = 0.0;
  decaying.learning_rate = 0.125;
  copy();
  BOOST_TEST(double(plain.learning_rate) == 0.125);
  BOOST_TEST(error_of([&] { plain.states()[0].set_value(full({}, -1, DType::f64)); }) ==
             "'optimizer.learning_rate': Sgd: learning_rate must not be negative, got -1");
  BOOST_TEST(error_of([&] { plain.states()[0].set_value(full({}, std::nan(""), DType::f64)); }) ==
             "'optimizer.learning_rate': must be finite, got nan");
  BOOST_TEST(error_of([&] { plain["weight_decay"] = decaying.learning_rate; }) ==
             "'optimizer.weight_decay': it was 0 when a step was built and its term left out; "
             "build the step again with the new value");
}

BOOST_AUTO_TEST_CASE(a_recipe_of_the_user_is_a_recipe) {
  struct Signs {
    std::vector<std::pair<std::string, double>> settings() const {
      return {{"learning_rate", 0.25}, {"decay", 0.5}};
    }
    void update(UpdateRule& rule) const {
      const Expr count = rule.slot("count");
      rule.set(count, count + 1.0);
      rule.set(rule.parameter(),
               rule.parameter() - sign(rule.gradient()) * rule.setting("learning_rate"));
    }
  };
  const Expr w = parameter(tensor({1.0, -1.0}, {2}), "w");
  Optimizer optimizer{Signs{}};
  compile({}, minimize(optimizer, {sum(square(w)), constant(ones({}, DType::f64)), {}}))
      .run_many(2);
  BOOST_TEST(w.value().at(0) == 0.5);
  BOOST_TEST(w.value().at(1) == -0.5);
  BOOST_TEST(optimizer.states().back().value().at(0) == 2);
}

BOOST_AUTO_TEST_SUITE_END()
