// Mistakes that once crashed or passed in silence: each is an Error now, or does what was meant.
#include <boost/test/unit_test.hpp>
#include <limits>

#include "blockgrad/blockgrad.h"
#include "tests/support/checks.h"

namespace {

using namespace blockgrad;
using namespace test_support;

}  // namespace

BOOST_AUTO_TEST_SUITE(misuse)

BOOST_AUTO_TEST_CASE(a_number_outside_the_dtype_is_refused) {
  const Expr bytes = input("x", {2}, DType::u8), ints = input("i", {2}, DType::i32);
  BOOST_TEST(contains(error_of([&] { bytes + 300.0; }), "the number 300 does not fit u8"));
  BOOST_TEST(contains(error_of([&] { ints + 3e9; }), "does not fit i32"));
}

BOOST_AUTO_TEST_CASE(a_loss_with_missing_or_wrong_parts_is_refused) {
  const Expr w = parameter(ones({2}), "w");
  BOOST_TEST(contains(error_of([&] { mean(Loss{}); }), "a Loss needs a sum and a weight"));
  BOOST_TEST(
      contains(error_of([&] { mean(Loss{sum(w), {}, {}}); }), "a Loss needs a sum and a weight"));
  BOOST_TEST(contains(error_of([&] { mean(Loss{sum(w), w, {}}); }), "must be f32[] like its sum"));
}

BOOST_AUTO_TEST_CASE(questions_about_an_empty_expr_have_an_answer) {
  BOOST_TEST(!is_parameter(Expr()));
  BOOST_TEST(stored(Expr()) == nullptr);
  BOOST_TEST(describe(Expr()) == "an empty Expr");
  BOOST_TEST(contains(error_of([] { Expr().op(); }), "an empty Expr has no op"));
}

BOOST_AUTO_TEST_CASE(a_setting_takes_the_number_of_another_one) {
  Optimizer a(Sgd{.learning_rate = 1}, "a"), b(Sgd{.learning_rate = 2}, "b");
  a.learning_rate = b.learning_rate;
  b.learning_rate = 3;
  BOOST_TEST(static_cast<double>(a.learning_rate) == 2);
}

BOOST_AUTO_TEST_CASE(two_named_optimizers_train_one_loss) {
  const Expr w = parameter(ones({2}), "w"), v = parameter(ones({2}), "v");
  const Loss loss{sum(square(w) + square(v)), constant(ones({})), {}};
  Optimizer slow(Sgd{.learning_rate = 0.1}, "slow"), fast(Sgd{.learning_rate = 0.25}, "fast");
  compile({}, minimize(slow, loss, {.only = {w}}) + minimize(fast, loss, {.only = {v}})).run();
  BOOST_TEST(w.value().at(0) == 0.8, boost::test_tools::tolerance(1e-6));
  BOOST_TEST(v.value().at(0) == 0.5, boost::test_tools::tolerance(1e-6));
}

BOOST_AUTO_TEST_CASE(one_size_of_a_reshape_is_worked_out) {
  const Expr x = input("x", {2, 6});
  BOOST_TEST((reshape(x, {3, -1}).shape() == Shape{3, 4}));
  BOOST_TEST(
      contains(error_of([&] { reshape(x, {3, -2}); }), "a size must be -1 or at least 0, got -2"));
}

BOOST_AUTO_TEST_CASE(a_long_formula_has_a_gradient) {
  const auto formula = elementwise([](auto x) {
    auto y = x;
    for (int i = 0; i < 50; ++i) y = y * x + sin(y);
    return y;
  });
  const Expr x = input("x", {1}, DType::f64);
  const Expr slope = grad(sum(formula(x)), {x})[0];
  const double h = 1e-6, at = 0.3;
  const auto value = [&](double p) { return evaluate(formula(x), {{x, tensor({p}, {1})}}).at(0); };
  BOOST_TEST(
      evaluate(slope, {{x, tensor({at}, {1})}}).at(0) == (value(at + h) - value(at - h)) / (2 * h),
      boost::test_tools::tolerance(1e-6));
}

BOOST_AUTO_TEST_CASE(a_step_larger_than_the_axis_takes_its_first_element) {
  const Expr x = input("x", {5});
  BOOST_TEST((slice(x, 0, 0, 5, std::numeric_limits<std::int64_t>::max()).shape() == Shape{1}));
}

BOOST_AUTO_TEST_CASE(values_too_large_together_are_refused_when_compiled) {
  const Expr big = broadcast_to(input("x", {}), {std::int64_t{1} << 60});
  BOOST_TEST(contains(error_of([&] { compile({exp(big), sin(big), cos(big), tanh(big)}); }),
                      "does not fit 64 bits"));
}

BOOST_AUTO_TEST_CASE(the_penalty_of_a_record_is_its_mean_over_the_updates) {
  const data::Dataset rows{{"x", ones({4, 1})}};
  const Expr w = parameter(ones({}), "w");
  const auto model = [&](train::Inputs& in) {
    return mse_loss(in["x"] * 0.0, in["x"] * 0.0) + penalty(w * 1.0);
  };
  const auto result =
      train::fit(model, rows, Sgd{.learning_rate = 0.1}, {.epochs = 1, .batch_size = 1});
  // w is 1, 0.9, 0.8, 0.7 before the four updates
  BOOST_TEST(result.history.back().training.loss == 0.85, boost::test_tools::tolerance(1e-6));
}

BOOST_AUTO_TEST_CASE(threads_outside_the_pool_are_refused) {
  const Expr x = input("x", {2});
  BOOST_TEST(contains(error_of([&] { compile({x + 1.0}, {}, cpu(), {.threads = -1}); }),
                      "threads must lie in [0, 64]"));
}

BOOST_AUTO_TEST_SUITE_END()
