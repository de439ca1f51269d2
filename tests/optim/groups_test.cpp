// Groups of parameters: what fits a pattern, what is inherited, and what is refused.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <optional>
#include <type_traits>

#include "blockgrad/blockgrad.h"
#include "optim/core.h"
#include "tests/optim/by_hand.h"

using namespace blockgrad;
using by_hand::error_of;
using by_hand::without_lines;

static_assert(!std::is_copy_assignable_v<ParameterGroup>);  // it would write a learning rate

namespace {

// Two layers in a row, each with a weight and a bias, and their loss.
struct Net {
  Expr w1 = parameter(tensor({0.5, -0.25}, {1, 2}), "first.weight");
  Expr b1 = parameter(tensor({0.1, 0.2}, {2}), "first.bias");
  Expr w2 = parameter(tensor({1.0, -0.5}, {2, 1}), "second.weight");
  Expr b2 = parameter(tensor({0.3}, {1}), "second.bias");

  Loss loss() const {
    const Expr x = constant(tensor({0.5, -1.0, 2.0}, {3, 1}));
    const Expr t = constant(tensor({1.0, 0.0, -1.0}, {3, 1}));
    return mse_loss(matmul(tanh(matmul(x, w1) + b1), w2) + b2, t);
  }
  std::vector<Expr> all() const { return {w1, b1, w2, b2}; }
};

std::vector<Tensor> values_of(const std::vector<Expr>& leaves) {
  std::vector<Tensor> values;
  for (const Expr& leaf : leaves) values.push_back(leaf.value());
  return values;
}

// AdamW of one element.
struct Element {
  double m = 0, s = 0;
  double step(double w, double g, double rate, double decay, double t) {
    m = 0.9 * m + 0.1 * g;
    s = 0.999 * s + 0.001 * g * g;
    w -= rate * decay * w;
    return w -
           rate * (m / (1 - std::pow(0.9, t))) / (std::sqrt(s / (1 - std::pow(0.999, t))) + 1e-8);
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(groups)

BOOST_AUTO_TEST_CASE(a_pattern_is_the_whole_name_with_any_characters_for_a_star) {
  const auto fits = detail::fits_pattern;
  BOOST_TEST(fits("first.bias", "*.bias"));
  BOOST_TEST(fits("first.bias", "first.bias"));
  BOOST_TEST(fits("first.bias", "*"));
  BOOST_TEST(fits("first.bias", "f*t.?ia*s*"));
  BOOST_TEST(fits("aab", "*ab"));
  BOOST_TEST(fits("", "*"));
  BOOST_TEST(!fits("", "?"));
  BOOST_TEST(!fits("first.bias", "bias"));
  BOOST_TEST(!fits("first.bias", "first"));
  BOOST_TEST(!fits("first.bias", "*.bias?"));
  BOOST_TEST(!fits("first.bias", "*.Bias"));
  BOOST_TEST(!fits(std::string(5000, 'a'), "*a*a*a*a*a*a*a*b"));
}

// 100 steps; the gradients come from the engine, the rule is by hand.
BOOST_AUTO_TEST_CASE(each_group_follows_its_own_settings_and_inherits_the_rest) {
  Net net;
  Optimizer optimizer(AdamW{.learning_rate = 0.05, .weight_decay = 0.2});
  optimizer.group("*.bias", {{"weight_decay", 0}});
  ParameterGroup second = optimizer.group("second.weight", {{"learning_rate", 0.01}});
  std::vector<Output> outputs;
  for (const Expr& g : grad(net.loss(), std::span<const Expr>(net.all()))) outputs.emplace_back(g);
  Program program = compile(outputs, minimize(optimizer, net.loss()), cpu());
  double rate = 0.05, second_rate = 0.01, decay = 0.2;
  std::vector<std::vector<Element>> state(4, std::vector<Element>(2));
  for (int n = 1; n <= 100; ++n) {
    if (n == 20) optimizer.learning_rate = rate = 0.04;  // not of the group with its own rate
    if (n == 30) second.learning_rate = second_rate = 0.02;
    if (n == 40) optimizer["weight_decay"] = decay = 0.1;  // inherited by second.weight
    if (n == 50) second["weight_decay"] = 0.5;             // no longer inherited
    if (n == 60) optimizer["weight_decay"] = decay = 0.3;
    const std::vector<Tensor> before = values_of(net.all());
    const Results results = program.run();
    for (std::size_t p = 0; p < 4; ++p) {
      const Tensor g = results.tensor(static_cast<int>(p));
      const double own_rate = p == 2 ? second_rate : rate;
      const double own_decay = p % 2 == 1 ? 0 : p == 2 && n >= 50 ? 0.5 : decay;
      for (std::int64_t i = 0; i < g.size(); ++i) {
        const double expected = state[p][static_cast<std::size_t>(i)].step(before[p].at(i), g.at(i),
                                                                           own_rate, own_decay, n);
        const double now = net.all()[p].value().at(i);
        BOOST_TEST_REQUIRE(std::abs(now - expected) <= 1e-13 * std::max(1.0, std::abs(expected)),
                           leaf_name(net.all()[p])
                               << " in step " << n << ": " << now << " instead of " << expected);
      }
    }
  }
  BOOST_TEST(double(second["weight_decay"]) == 0.5);
  BOOST_TEST(double(optimizer.group("*.bias")["weight_decay"]) == 0);
  BOOST_TEST(double(optimizer.group("*.bias").learning_rate) == 0.04);
}

BOOST_AUTO_TEST_CASE(settings_of_groups_are_among_the_states) {
  Net net;
  Optimizer optimizer(Sgd{.learning_rate = 0.5}, "sgd");
  optimizer.group("*.bias", {{"learning_rate", 0.25}});
  std::string names;
  for (const Expr& state : optimizer.states()) names += leaf_name(state) + " ";
  BOOST_TEST(
      names ==
      "sgd.learning_rate sgd.momentum sgd.weight_decay sgd[*.bias].learning_rate "
      "sgd[*.bias].learning_rate.inherits sgd[*.bias].momentum sgd[*.bias].momentum.inherits "
      "sgd[*.bias].weight_decay sgd[*.bias].weight_decay.inherits ");
}

BOOST_AUTO_TEST_CASE(a_term_left_out_for_one_group_is_refused_for_all_and_changes_nothing) {
  Net net;
  Optimizer optimizer(Sgd{.weight_decay = 0.5});
  ParameterGroup bias = optimizer.group("*.bias", {{"weight_decay", 0}});
  minimize(optimizer, net.loss());
  const std::string reason =
      ": it was 0 when a step was built and its term left out; build the step again with the new "
      "value";
  BOOST_TEST(without_lines(error_of([&] { bias["weight_decay"] = 0.25; })) ==
             "setting 'weight_decay' at groups_test.cpp:" + reason);
  BOOST_TEST(double(bias["weight_decay"]) == 0);
  optimizer["weight_decay"] = 0.25;
  BOOST_TEST(double(optimizer["weight_decay"]) == 0.25);
  BOOST_TEST(double(bias["weight_decay"]) == 0);
  BOOST_TEST(without_lines(error_of([&] { optimizer["momentum"] = 0.9; })) ==
             "setting 'momentum' at groups_test.cpp:" + reason);
  BOOST_TEST(double(bias["momentum"]) == 0);
}

BOOST_AUTO_TEST_CASE(groups_that_fit_nothing_or_too_much_are_errors) {
  Net net;
  Optimizer none(Sgd{});
  none.group("*.gain");
  BOOST_TEST(
      error_of([&] { minimize(none, net.loss()); }).starts_with("apply at groups_test.cpp:"));
  BOOST_TEST(error_of([&] { minimize(none, net.loss()); })
                 .ends_with(": group '*.gain' fits no parameter; there are first.weight, "
                            "first.bias, second.weight, second.bias"));
  BOOST_TEST(none.states().size() == 9);  // no slot was made

  Optimizer two(Sgd{});
  two.group("first.*");
  two.group("*.bias");
  BOOST_TEST(error_of([&] {
               minimize(two, net.loss());
             }).ends_with(" fits two groups, 'first.*' and '*.bias'"));
  BOOST_TEST(error_of([&] { minimize(two, net.loss()); }).starts_with("apply at groups_test.cpp:"));

  Optimizer late(Sgd{});
  minimize(late, net.loss());
  const std::string text = error_of([&] { late.group("*.bias"); });
  BOOST_TEST(text.starts_with("group '*.bias' at groups_test.cpp:"));
  BOOST_TEST(text.ends_with(" before; make groups first"));
  late.group("third.*");  // of parameters to come

  BOOST_TEST(error_of([&] { late.group(""); }).ends_with(": the pattern is empty"));
  BOOST_TEST(without_lines(error_of([&] { late.group("x", {{"rate", 1}}); })) ==
             "setting 'rate' at groups_test.cpp:: there is none; the optimizer has learning_rate, "
             "momentum, weight_decay");
  BOOST_TEST(without_lines(error_of([&] { late.group("x", {{"momentum", -1}}); })) ==
             "setting 'momentum' at groups_test.cpp:: Sgd: momentum must not be negative, got -1");
  BOOST_TEST(error_of([&] {
               late.group("x", {{"momentum", 1}, {"momentum", 0.5}});
             }).ends_with(": setting 'momentum' is given twice"));
  BOOST_TEST(late.states().size() == 9);
}

BOOST_AUTO_TEST_CASE(a_known_group_takes_all_new_values_or_none) {
  Net net;
  Optimizer optimizer(Sgd{.weight_decay = 0.5});
  ParameterGroup bias = optimizer.group("*.bias", {{"weight_decay", 0}, {"learning_rate", 0.25}});
  minimize(optimizer, net.loss());
  BOOST_TEST(error_of([&] {
               optimizer.group("*.bias", {{"learning_rate", 0.5}, {"weight_decay", 0.1}});
             }).find("its term left out") != std::string::npos);
  BOOST_TEST(double(bias.learning_rate) == 0.25);
  optimizer.group("*.bias", {{"learning_rate", 0.5}, {"weight_decay", 0}});
  BOOST_TEST(double(bias.learning_rate) == 0.5);
}

BOOST_AUTO_TEST_CASE(what_a_group_inherits_is_saved_with_its_values) {
  Optimizer one(Sgd{.learning_rate = 0.5}), other(Sgd{.learning_rate = 0.5});
  one.group("*.bias", {{"learning_rate", 0.5}});  // its own, though equal
  ParameterGroup bias = other.group("*.bias");
  const std::vector<Expr> from = one.states(), to = other.states();
  for (std::size_t i = 0; i < from.size(); ++i) to[i].set_value(from[i].value());
  other.learning_rate = 0.125;
  other["momentum"] = 0.75;
  BOOST_TEST(double(bias.learning_rate) == 0.5);
  BOOST_TEST(double(bias["momentum"]) == 0.75);
}

BOOST_AUTO_TEST_CASE(settings_may_outlive_their_optimizer) {
  std::optional<Optimizer> optimizer(std::in_place, Sgd{.learning_rate = 0.5});
  ParameterGroup bias = optimizer->group("*.bias");
  Setting rate = optimizer->learning_rate;
  optimizer.reset();
  rate = 0.25;
  BOOST_TEST(double(bias.learning_rate) == 0.25);
}

BOOST_AUTO_TEST_CASE(a_group_may_belong_to_another_step_of_the_optimizer) {
  Net net;
  Optimizer optimizer(Sgd{.learning_rate = 1});
  optimizer.group("first.*", {{"learning_rate", 0}});
  minimize(optimizer, net.loss(), {.only = {net.w1}});
  minimize(optimizer, net.loss(), {.only = {net.w2}});  // the group was used before
}

BOOST_AUTO_TEST_SUITE_END()
