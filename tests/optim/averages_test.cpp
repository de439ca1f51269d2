// Averaged parameters and the scale of a loss.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "blockgrad/blockgrad.h"
#include "tests/optim/by_hand.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;
using namespace by_hand;

namespace {

Loss loss_of(const Expr& value) { return {value, constant(ones({}, value.dtype())), {}}; }

}  // namespace

BOOST_AUTO_TEST_SUITE(averages)

BOOST_AUTO_TEST_CASE(the_average_follows_its_formula_from_the_new_values) {
  const Expr w = parameter(tensor({1.0, -2.0, 3.0}, {3, 1}), "w"),
             x = input("x", {8, 3}, DType::f64), t = input("t", {8, 1}, DType::f64);
  const Adam rule{.learning_rate = 0.05};
  Optimizer optimizer(rule);
  Ema ema({w}, 0.95);
  Program program = compile({}, ema.update(minimize(optimizer, mse_loss(matmul(x, w), t))));
  ByHand hand;
  Vector average = hand.w;
  for (std::size_t n = 0; n < 100; ++n) {
    if (n % 10 == 3) {  // held back: the average too
      const Tensor before = ema.average(w).value();
      program.run({{x, rows_of_x(n, 8)}, {t, full({8, 1}, std::nan(""), DType::f64)}});
      BOOST_TEST(same_bits(before, ema.average(w).value()));
    }
    program.run({{x, rows_of_x(n, 8)}, {t, rows_of_t(n, 8)}});
    hand.step(rule, gradient_by_hand(hand.w, n, 8));
    for (std::size_t i = 0; i < 3; ++i) {
      average[i] = 0.95 * average[i] + 0.05 * hand.w[i];
      BOOST_TEST_REQUIRE(std::abs(ema.average(w).value().span<double>()[i] - average[i]) < 1e-12);
      BOOST_TEST_REQUIRE(std::abs(w.value().span<double>()[i] - hand.w[i]) < 1e-12);
    }
  }
}

BOOST_AUTO_TEST_CASE(an_average_of_rows_is_of_the_whole_parameter) {
  const Expr w = parameter(ones({6, 2}, DType::f64), "w");
  const Expr i = constant(tensor<std::int32_t>({4, 1, 4}, {3}));
  Optimizer optimizer(Sgd{.learning_rate = 0.5});
  Ema ema({w}, 0.5);
  Program program = compile({}, ema.update(minimize(optimizer, loss_of(sum(take(w, i))))));
  program.run_many(2);
  BOOST_TEST(w.value().at(8) == -1);
  BOOST_TEST(w.value().at(2) == 0);
  BOOST_TEST(w.value().at(0) == 1);
  BOOST_TEST(ema.average(w).value().at(8) == -0.25);  // (1 + 0) / 2, then (0.5 - 1) / 2
  BOOST_TEST(ema.average(w).value().at(2) == 0.375);
  BOOST_TEST(ema.average(w).value().at(0) == 1);
}

BOOST_AUTO_TEST_CASE(averages_are_states_and_mistakes_are_named) {
  const Expr w = parameter(ones({2}), "w"), other = parameter(ones({2}), "other");
  const Ema ema({w}, 0.9);
  BOOST_TEST(leaf_name(ema.states()[0]) == "w.average");
  BOOST_TEST(ema.states()[0].value().at(1) == 1);
  BOOST_TEST(error_of([&] {
               ema.average(other);
             }).starts_with("the Ema has no average of parameter 'other' (averages_test.cpp:"));
  BOOST_TEST(error_of([&] { Ema({w}, 1); }).ends_with(": decay must lie in [0, 1), got 1"));
  BOOST_TEST(error_of([&] { Ema({w * 2.0}, 0.5); }).starts_with("Ema at averages_test.cpp:"));
  BOOST_TEST(error_of([&] {
               Ema({Expr()}, 0.5);
             }).ends_with(": only floating parameters and states are averaged, got an empty Expr"));
}

BOOST_AUTO_TEST_CASE(a_scaled_loss_gives_the_same_bits) {
  const auto run = [](bool is_scaled) {
    const Expr w = parameter(tensor({1.0f, -2.0f, 3.0f}, {3, 1}), "w"), x = input("x", {8, 3}),
               t = input("t", {8, 1});
    Optimizer optimizer(Adam{.learning_rate = 0.05});
    const Loss loss = mse_loss(matmul(x, w), t) + penalty(0.01 * sum(square(w)));
    const LossScale scale(1024, 3);
    Program program = compile({}, optimizer.apply(clip_by_global_norm(
                                      is_scaled ? scale.gradients(loss) : gradients(loss), 0.5)));
    for (std::size_t n = 0; n < 20; ++n)
      program.run(
          {{x, rows_of_x(n, 8).astype(DType::f32)}, {t, rows_of_t(n, 8).astype(DType::f32)}});
    if (is_scaled) BOOST_TEST(scale.value() == 1024 * 64);  // doubled six times
    return w.value();
  };
  BOOST_TEST(same_bits(run(true), run(false)));
}

BOOST_AUTO_TEST_CASE(the_scale_halves_when_a_step_is_not_finite_and_doubles_after_clean_ones) {
  const Expr w = parameter(ones({1}), "w"), x = input("x", {1});
  Optimizer optimizer(Sgd{.learning_rate = 1});
  const LossScale scale(4, 2);
  Program program = compile({}, optimizer.apply(scale.gradients(loss_of(sum(w * x)))));
  const auto step = [&](float value) { program.run({{x, tensor({value}, {1})}}); };
  const auto clean = [&] { return scale.states()[1].value().at(0); };
  step(0.25f);
  BOOST_TEST(w.value().at(0) == 0.75);
  BOOST_TEST(scale.value() == 4);
  BOOST_TEST(clean() == 1);
  step(2e38f);  // times 4 is too large for f32: no update
  BOOST_TEST(w.value().at(0) == 0.75);
  BOOST_TEST(scale.value() == 2);
  BOOST_TEST(clean() == 0);
  step(2e38f);
  BOOST_TEST(scale.value() == 1);
  step(0.25f);
  step(0.25f);
  BOOST_TEST(scale.value() == 2);
  BOOST_TEST(clean() == 0);
  BOOST_TEST(w.value().at(0) == 0.25);
  for (int n = 0; n < 300; ++n) step(std::numeric_limits<float>::quiet_NaN());
  BOOST_TEST(scale.value() == 0x1p-100);
}

// Backwards 1 becomes 1e-25 and 1e-50, which f32 does not have, before it becomes 1e-20.
BOOST_AUTO_TEST_CASE(scaling_keeps_gradients_that_would_underflow_on_their_way) {
  const auto run = [](bool is_scaled) {
    const Expr w = parameter(ones({1}), "w");
    Optimizer optimizer(Sgd{.learning_rate = 1e20});
    const Loss loss = loss_of(sum(w * 1e30 * 1e-25) * 1e-25);
    const LossScale scale(0x1p60);
    compile({}, optimizer.apply(is_scaled ? scale.gradients(loss) : gradients(loss))).run();
    return w.value().at(0);
  };
  BOOST_TEST(run(false) == 1);
  BOOST_TEST(std::abs(run(true)) < 1e-6);
}

BOOST_AUTO_TEST_CASE(mistakes_of_a_scale_are_named) {
  BOOST_TEST(
      error_of([] { LossScale(0); }).ends_with(": the scale must lie in [2^-100, 2^100], got 0"));
  BOOST_TEST(error_of([] { LossScale(1, 0); }).ends_with(": grow_after must be at least 1, got 0"));
  const Expr w = parameter(ones({}), "w");
  Optimizer optimizer(Sgd{});
  const LossScale scale;
  BOOST_TEST(error_of([&] {
               accumulate(optimizer, scale.gradients(loss_of(w * 2.0)), 2);
             }).ends_with("clipping and scaling, which need the mean gradient"));
}

BOOST_AUTO_TEST_SUITE_END()
