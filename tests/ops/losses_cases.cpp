// Losses against their definitions, and their arithmetic: sums, weights and penalties.
#include "blockgrad/ops/losses.h"

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/linalg.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/op_check.h"

using namespace blockgrad;
using namespace op_check;

namespace {

const std::vector<std::vector<Shape>> pairs = {{{4}, {4}}, {{2, 3}, {2, 3}}, {{1}, {1}}, {{}, {}}};

OpCase pair(std::string name, Loss (*loss)(Arg, Arg), double (*term)(double, double)) {
  return {std::move(name), pairs, [=](auto x) { return mean(loss(x[0], x[1])); },
          [=](auto x) {
            const Array terms = pointwise(x, [=](auto v) { return term(v[0], v[1]); });
            return along(terms, {}, false, [](const std::vector<double>& line) {
              double s = 0;
              for (const double v : line) s += v;
              return s / double(line.size());
            });
          }};
}

std::vector<OpCase> rows() {
  std::vector<OpCase> all;
  all.push_back(pair("mse_loss", mse_loss, [](double y, double t) { return (y - t) * (y - t); }));
  all.push_back(pair("l1_loss", l1_loss, [](double y, double t) { return std::abs(y - t); }));
  all.back().near_kink = ties_between();
  all.push_back(pair("binary_cross_entropy_with_logits", binary_cross_entropy_with_logits,
                     [](double x, double t) { return std::log1p(std::exp(x)) - t * x; }));
  all.push_back(
      {"cross_entropy",
       {{{4, 3}}, {{4, 5}}},
       [](auto x) { return mean(cross_entropy(x[0], constant(tensor({2, 0, 1, 2}, {4})))); },
       [](auto x) {
         const int labels[] = {2, 0, 1, 2};
         double s = 0;
         for (std::int64_t r = 0; r < 4; ++r) {
           double z = 0;
           for (std::int64_t c = 0; c < x[0].shape[1]; ++c) z += std::exp(x[0].at({r, c}));
           s += std::log(z) - x[0].at({r, labels[r]});
         }
         return Array{{}, {s / 4}};
       }});
  all.push_back(
      {"cross_entropy_of_one_sample",
       {{{3}}},
       [](auto x) { return mean(cross_entropy(x[0], constant(tensor({std::int64_t{1}}, {})))); },
       [](auto x) {
         double z = 0;
         for (const double v : x[0].values) z += std::exp(v);
         return Array{{}, {std::log(z) - x[0].values[1]}};
       }});
  all.push_back({"loss_with_factor_and_penalty",
                 {{{4}, {4}}},
                 [](auto x) {
                   return mean(0.5 * (mse_loss(x[0], x[1]) + mse_loss(x[0], x[1])) +
                               penalty(0.1 * sum(square(x[0]))));
                 },
                 [](auto x) {
                   double s = 0, p = 0;
                   for (std::size_t i = 0; i < 4; ++i) {
                     s += (x[0].values[i] - x[1].values[i]) * (x[0].values[i] - x[1].values[i]);
                     p += x[0].values[i] * x[0].values[i];
                   }
                   return Array{{}, {s / 4 + 0.1 * p}};
                 }});
  return all;
}

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(losses)

BG_CASES(rows())

BOOST_AUTO_TEST_CASE(logits_of_ten_thousand_give_finite_losses_and_gradients) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Expr x = input("x", {2, 2}, dtype);
    const Tensor values = tensor({1e4, -1e4, -1e4, 1e4}, {2, 2}).astype(dtype);
    const Expr binary = mean(binary_cross_entropy_with_logits(
        x, constant(tensor({0.0, 1.0, 0.0, 1.0}, {2, 2}).astype(dtype))));
    const Expr classes = mean(cross_entropy(x, constant(tensor({1, 1}, {2}))));
    for (const Expr& loss : {binary, classes}) {
      BOOST_TEST(evaluate(loss, {{x, values}}).at(0) == (loss == binary ? 5e3 : 1e4));
      const Tensor g = evaluate(grad(loss, {x})[0], {{x, values}});
      for (int i = 0; i < 4; ++i) BOOST_TEST(std::isfinite(g.at(i)));
    }
  }
}

BOOST_AUTO_TEST_CASE(accuracy_counts_the_first_largest_logit) {
  const Expr x = input("x", {4, 3}), labels = input("labels", {4}, DType::i64);
  const Tensor logits =
      tensor({1.f, 2.f, 0.f, 5.f, 5.f, 1.f, 0.f, 0.f, 3.f, 9.f, 8.f, 7.f}, {4, 3});
  const Tensor truth =
      tensor({std::int64_t{1}, std::int64_t{0}, std::int64_t{2}, std::int64_t{1}}, {4});
  BOOST_TEST(evaluate(mean(accuracy(x, labels)), {{x, logits}, {labels, truth}}).at(0) == 0.75);
}

BOOST_AUTO_TEST_CASE(a_label_out_of_range_is_an_error_of_the_run) {
  const Expr x = input("x", {2, 3}), labels = input("labels", {2}, DType::i32);
  Program program = compile({cross_entropy(x, labels)});
  const std::string text =
      error_of([&] { program.run({{x, zeros({2, 3})}, {labels, tensor({0, 3}, {2})}}); });
  BOOST_TEST(text.find("index 3 at position 1") != std::string::npos, text);
  BOOST_TEST(
      program.run({{x, zeros({2, 3})}, {labels, tensor({0, 2}, {2})}}).number(0) == std::log(3.0),
      boost::test_tools::tolerance(1e-6));
}

BOOST_AUTO_TEST_CASE(a_weight_of_zero_gives_a_mean_of_zero_and_no_gradient) {
  const Expr y = input("y", {0}, DType::f64), w = input("w", {1}, DType::f64);
  const Expr loss = mean(mse_loss(y * w, constant(zeros({0}, DType::f64))));
  const Feeds feeds = {{y, zeros({0}, DType::f64)}, {w, ones({1}, DType::f64)}};
  BOOST_TEST(evaluate(loss, feeds).at(0) == 0);
  BOOST_TEST(evaluate(grad(loss, {w})[0], feeds).at(0) == 0);
}

BOOST_AUTO_TEST_CASE(shapes_of_pairs_must_be_equal_not_merely_broadcastable) {
  const Expr y = input("y", {4, 1}), t = input("t", {4});
  const std::string text = error_of([&] { mse_loss(y, t); });
  BOOST_TEST(text.find("mse_loss (losses_cases.cpp:") == 0, text);
  BOOST_TEST(text.find("shapes must be equal, got [4, 1] and [4]") != std::string::npos, text);
}

BOOST_AUTO_TEST_CASE(losses_of_different_weights_are_not_added) {
  const Expr a = input("a", {4}), b = input("b", {3});
  const std::string text = error_of([&] { mse_loss(a, a) + mse_loss(b, b); });
  BOOST_TEST(text.find("losses of different weights cannot be added") == 0, text);
}

BOOST_AUTO_TEST_CASE(a_penalty_is_a_floating_scalar) {
  const Expr w = input("w", {4});
  BOOST_TEST(error_of([&] { penalty(w); }).find("wants a floating scalar, got f32[4]") !=
             std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
