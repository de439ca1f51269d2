// Gradients as a value: clipping, guards and mistakes.
#include "blockgrad/optim/gradients.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "blockgrad/blockgrad.h"
#include "tests/optim/weighted.h"

using namespace blockgrad;
using namespace by_hand;

namespace {

constexpr double infinite = std::numeric_limits<double>::infinity();

// A loss whose gradient by `p` is `g`.
Loss with_gradient(const Expr& p, const Expr& g) {
  return {sum(p * g), constant(ones({}, p.dtype())), {}};
}

std::vector<double> clipped(const std::vector<double>& g, DType dtype,
                            const std::function<Gradients(const Gradients&)>& transform) {
  const auto n = static_cast<std::int64_t>(g.size());
  const Expr p = parameter(zeros({n}, dtype), "p"), x = input("x", {n}, dtype);
  const Gradients made = transform(gradients(with_gradient(p, x)));
  const Tensor y =
      evaluate(made.list[0].value, {{x, tensor(std::span<const double>(g), {n}).astype(dtype)}});
  std::vector<double> values;
  for (std::int64_t i = 0; i < n; ++i) values.push_back(y.at(i));
  return values;
}

std::vector<double> by_norm(const std::vector<double>& g, double limit, DType dtype = DType::f64) {
  return clipped(g, dtype, [&](const Gradients& all) { return clip_by_global_norm(all, limit); });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(gradients)

BOOST_AUTO_TEST_CASE(clipping_by_value_cuts_each_element_and_keeps_nan) {
  const auto by_value = [](const std::vector<double>& g, double limit) {
    return clipped(g, DType::f64, [&](const Gradients& all) { return clip_by_value(all, limit); });
  };
  const std::vector<double> y = by_value({-3, -0.5, 0.25, 2, infinite, -infinite}, 0.5);
  BOOST_TEST(y == (std::vector<double>{-0.5, -0.5, 0.25, 0.5, 0.5, -0.5}),
             boost::test_tools::per_element());
  BOOST_TEST(std::isnan(by_value({std::nan("")}, 1)[0]));
  BOOST_TEST(by_value({3}, 0)[0] == 0);
  BOOST_TEST(by_value({3e300}, infinite)[0] == 3e300);
}

BOOST_AUTO_TEST_CASE(clipping_by_norm_scales_down_to_the_norm_and_never_up) {
  BOOST_TEST(by_norm({3, 4}, 1) == (std::vector<double>{0.6, 0.8}),
             boost::test_tools::per_element());
  BOOST_TEST(by_norm({3, 4}, 5) == (std::vector<double>{3, 4}), boost::test_tools::per_element());
  BOOST_TEST(by_norm({3, 4}, 50) == (std::vector<double>{3, 4}), boost::test_tools::per_element());
  BOOST_TEST(by_norm({3, 4}, infinite) == (std::vector<double>{3, 4}),
             boost::test_tools::per_element());
  BOOST_TEST(by_norm({0, 0}, 1) == (std::vector<double>{0, 0}), boost::test_tools::per_element());
  BOOST_TEST(by_norm({0, 0}, infinite) == (std::vector<double>{0, 0}),
             boost::test_tools::per_element());
  const std::vector<double> large = by_norm({3e30, 4e30}, 1, DType::f32);  // squares overflow f32
  BOOST_TEST(std::abs(large[0] - 0.6) < 1e-7);
  BOOST_TEST(std::abs(large[1] - 0.8) < 1e-7);
  BOOST_TEST(std::isnan(by_norm({1, std::nan("")}, 1)[0]));
}

// Squares, norms and factors that leave the range of their dtype, though the results do not.
BOOST_AUTO_TEST_CASE(clipping_by_norm_keeps_updates_that_overflow_or_vanish_on_the_way) {
  const double half = std::sqrt(0.5);
  const auto near = [](const std::vector<double>& y, const std::vector<double>& expected) {
    for (std::size_t i = 0; i < y.size(); ++i)
      BOOST_TEST(std::abs(y[i] - expected[i]) <= 1e-15 * std::abs(expected[i]),
                 y[i] << " instead of " << expected[i]);
  };
  near(by_norm({1e200, 1e200}, 1), {half, half});
  near(by_norm({1.5e308, -1.5e308}, 1), {half, -half});  // the norm is beyond f64
  near(by_norm({1.5e308, -1.5e308}, 1.7e308), {1.7e308 * half, -1.7e308 * half});
  near(by_norm({3e-200, 4e-200}, 1e-200), {0.6e-200, 0.8e-200});  // squares are 0
  near(by_norm({3e-200, 4e-200}, 1), {3e-200, 4e-200});
  near(by_norm({3e200, 4e200}, 1e-200), {0.6e-200, 0.8e-200});  // limit / norm is 0
  const std::vector<double> small = by_norm({3e38, 0}, 1e-8, DType::f32);
  BOOST_TEST(std::abs(small[0] - 1e-8) < 1e-15);
  BOOST_TEST(small[1] == 0);
  BOOST_TEST(by_norm({3e38, 3e38}, infinite, DType::f32)[0] == double(3e38f));
  BOOST_TEST(by_norm({infinite, 1}, infinite) == (std::vector<double>{infinite, 1}),
             boost::test_tools::per_element());
  const std::vector<double> bad = by_norm({infinite, 1}, 2);
  BOOST_TEST(std::isnan(bad[0]));
  BOOST_TEST(bad[1] == 0);
  BOOST_TEST(by_norm({}, 1).empty());
}

BOOST_AUTO_TEST_CASE(the_norm_does_not_overflow_before_it_must) {
  const auto norm = [](double a, double b) {
    const Expr p = parameter(zeros({2}, DType::f64), "p");
    const Expr g = constant(tensor({a, b}, {2}));
    return evaluate(global_norm(blockgrad::gradients(with_gradient(p, g)))).at(0);
  };
  BOOST_TEST(std::abs(norm(3e200, 4e200) / 5e200 - 1) < 1e-15);
  BOOST_TEST(std::abs(norm(3e-200, 4e-200) / 5e-200 - 1) < 1e-15);
  BOOST_TEST(norm(0, 0) == 0);
  BOOST_TEST(norm(infinite, 1) == infinite);
}

BOOST_AUTO_TEST_CASE(the_norm_is_of_all_gradients_together) {
  const Expr p = parameter(zeros({2}, DType::f64), "p"), q = parameter(zeros({}), "q");
  const Expr g = constant(tensor({3.0, 4.0}, {2}));
  const Loss loss{sum(p * g) + astype(q * 12.0, DType::f64), constant(ones({}, DType::f64)), {}};
  const Gradients made = blockgrad::gradients(loss);
  BOOST_TEST(evaluate(global_norm(made)).at(0) == 13);
  const Gradients half = clip_by_global_norm(made, 6.5);
  BOOST_TEST(evaluate(half.list[0].value).at(1) == 2);
  BOOST_TEST(evaluate(half.list[1].value).at(0) == 6);
}

BOOST_AUTO_TEST_CASE(clipping_does_not_hide_what_is_not_finite) {
  const Expr p = parameter(ones({1}, DType::f64), "p"), x = input("x", {1}, DType::f64);
  Optimizer optimizer(Sgd{.learning_rate = 1});
  Program program =
      compile({}, minimize(optimizer, with_gradient(p, x), {.clip_value = 0.5, .clip_norm = 0.25}));
  for (const double bad : {infinite, -infinite, std::nan("")}) {
    program.run({{x, tensor({bad}, {1})}});
    BOOST_TEST(p.value().at(0) == 1);
  }
  program.run({{x, tensor({100.0}, {1})}});
  BOOST_TEST(p.value().at(0) == 0.75);
}

BOOST_AUTO_TEST_CASE(clipped_training_follows_the_recurrence) {
  Expr w = parameter(tensor({1.0, -2.0, 3.0}, {3, 1}), "w");
  const Expr x = input("x", {8, 3}, DType::f64), t = input("t", {8, 1}, DType::f64);
  const Adam rule{.learning_rate = 0.05, .weight_decay = 0.02};
  Optimizer optimizer(rule);
  Program program = compile(
      {}, minimize(optimizer, mse_loss(matmul(x, w), t), {.clip_value = 0.7, .clip_norm = 0.8}));
  ByHand hand;
  for (std::size_t n = 0; n < 100; ++n) {
    program.run({{x, rows_of_x(n, 8)}, {t, rows_of_t(n, 8)}});
    Vector g = gradient_by_hand(hand.w, n, 8);
    double squares = 0;
    for (double& e : g) {
      e = std::min(std::max(e, -0.7), 0.7);
      squares += e * e;
    }
    for (double& e : g) e *= std::min(1.0, 0.8 / std::sqrt(squares));
    hand.step(rule, g);
    for (std::size_t i = 0; i < 3; ++i)
      BOOST_TEST_REQUIRE(std::abs(w.value().span<double>()[i] - hand.w[i]) < 1e-12);
  }
}

BOOST_AUTO_TEST_CASE(a_guard_that_is_false_leaves_every_bit) {
  Weighted model;
  Optimizer optimizer(Adam{});
  const Expr allowed = state(zeros({}, DType::boolean), "allowed");
  const Weighted::Step step = model.step(8, true);
  Gradients all = blockgrad::gradients(step.loss);
  all.guard = allowed;
  Program program = compile({}, optimizer.apply(clip_by_global_norm(all, 1)));
  std::vector<Expr> leaves = optimizer.states();
  leaves.push_back(model.w);
  leaves.push_back(model.b);
  const std::vector<Tensor> before = values_of(leaves);
  program.run(feeds_of(step, 0, 8));
  BOOST_TEST(same_bits(before, values_of(leaves)));
  allowed.set_value(full({}, 1, DType::boolean));
  program.run(feeds_of(step, 0, 8));
  BOOST_TEST(!same_bits(before, values_of(leaves)));
}

BOOST_AUTO_TEST_CASE(mistakes_are_named) {
  const Expr p = parameter(ones({2}, DType::f64), "p"), g = constant(ones({2}, DType::f64));
  const Gradients all = blockgrad::gradients(with_gradient(p, g));
  Optimizer optimizer(Sgd{});
  const auto ends = [](const std::function<void()>& call, const std::string& end) {
    const std::string text = error_of(call);
    BOOST_TEST(text.ends_with(end), text);
    BOOST_TEST(text.find(" at gradients_test.cpp:") != std::string::npos, text);
  };
  ends([&] { clip_by_value(all, -1); }, ": the limit must not be negative, got -1");
  ends([&] { clip_by_value(all, std::nan("")); }, ": the limit must not be negative, got nan");
  ends([&] { clip_by_global_norm(all, 0); }, ": the limit must be above 0, got 0");
  ends([&] { clip_by_global_norm(all, std::nan("")); }, ": the limit must be above 0, got nan");
  ends([&] { accumulate(optimizer, all, 0); }, ": wants at least 1 batch, got 0");
  ends([&] { accumulate(optimizer, {}, 2); }, ": there are no gradients");
  ends([&] { accumulate(optimizer, clip_by_value(all, 1), 2); },
       " is not the one that gradients(loss) gave; accumulation comes before clipping and scaling, "
       "which need the mean gradient");
  Gradients doubled = all, other = all, guarded = all, twice = all;
  doubled.list[0].value = doubled.list[0].value * 2.0;
  ends([&] { accumulate(optimizer, doubled, 2); },
       " is not the one that gradients(loss) gave; accumulation comes before clipping and scaling, "
       "which need the mean gradient");
  other.loss = with_gradient(p, g);
  ends([&] { accumulate(optimizer, other, 2); },
       ": wants the gradients that gradients(loss) gave, and their loss");
  other.plain = nullptr;
  ends([&] { accumulate(optimizer, other, 2); }, ": wants the gradients that gradients(loss) gave");
  ends([&] { accumulate(optimizer, accumulate(optimizer, all, 1), 2, sum(g)); },
       ": flush must be a bool scalar, got f64[]");
  guarded.guard = constant(ones({2}, DType::boolean));
  ends([&] { accumulate(optimizer, guarded, 2); }, ", bool[2]");
  twice.list.push_back(twice.list[0]);
  ends([&] { accumulate(optimizer, twice, 2); }, ") comes twice");
  ends([&] { blockgrad::gradients({sum(g), constant(ones({}, DType::f64)), {}}); },
       ": the loss depends on no parameter");
  const Gradients odd = blockgrad::gradients({sum(p), sum(p * p), {}});
  const std::string text = error_of([&] { accumulate(optimizer, odd, 2); });
  BOOST_TEST(text.starts_with("accumulate at gradients_test.cpp:"), text);
  BOOST_TEST(text.find(": the weight of the loss depends on parameter 'p' (gradients_test.cpp:") !=
                 std::string::npos,
             text);
  BOOST_TEST(optimizer.states().size() == 3);
}

BOOST_AUTO_TEST_SUITE_END()
