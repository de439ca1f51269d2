// Losses against their definitions, and their arithmetic: sums, weights and penalties.
#include "blockgrad/ops/losses.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <limits>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/linalg.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/reductions.h"
#include "tests/ops/refusal.h"
#include "tests/support/checks.h"
#include "tests/support/op_check.h"

using namespace blockgrad;
using namespace test_support;
using namespace op_check;

namespace {

const std::vector<std::vector<Shape>> pairs = {{{4}, {4}}, {{2, 3}, {2, 3}}, {{1}, {1}}, {{}, {}}};

using PairLoss = std::function<Loss(Arg, Arg, const Expr&)>;

OpCase pair(std::string name, PairLoss loss, double (*term)(double, double)) {
  return {std::move(name), pairs, [=](auto x) { return mean(loss(x[0], x[1], {})); },
          [=](auto x) {
            const Array terms = pointwise(x, [=](auto v) { return term(v[0], v[1]); });
            return along(terms, {}, false, [](const std::vector<double>& line) {
              double s = 0;
              for (const double v : line) s += v;
              return s / double(line.size());
            });
          }};
}

// sum of weights * terms / sum of weights; the weights are those of the first axis.
OpCase weighted(std::string name, PairLoss loss, double (*term)(double, double)) {
  OpCase row{std::move(name),
             {{{4}, {4}, {4}}, {{2, 3}, {2, 3}, {2}}, {{3, 1}, {3, 1}, {3}}, {{1}, {1}, {1}}},
             [=](auto x) { return mean(loss(x[0], x[1], x[2])); },
             [=](auto x) {
               const std::int64_t per_row = x[0].shape.size() / x[0].shape[0];
               double s = 0, w = 0;
               for (std::int64_t i = 0; i < x[0].shape.size(); ++i) {
                 const auto at = static_cast<std::size_t>(i);
                 const double own = x[2].values[static_cast<std::size_t>(i / per_row)];
                 s += own * term(x[0].values[at], x[1].values[at]);
                 w += own;
               }
               return Array{{}, {s / w}};
             }};
  row.inputs = {Draw::number(), Draw::number(), Draw::number(0.5, 2)};
  return row;
}

double total(const std::vector<double>& line) {
  double s = 0;
  for (const double v : line) s += v;
  return s;
}

double huber(double y, double t) {
  const double r = std::abs(y - t);
  return r <= 0.7 ? 0.5 * r * r : 0.7 * (r - 0.35);
}
double poisson(double x, double t) { return std::exp(x) - t * x; }
double binary(double x, double t) { return std::log1p(std::exp(x)) - t * x; }

Loss huber_of(Arg y, Arg t, const Expr& w) { return huber_loss(y, t, 0.7, w); }

std::vector<OpCase> rows() {
  std::vector<OpCase> all;
  const auto at_delta = [](std::span<const Array> x) {
    const Array gaps = pointwise(x.first(2), [](auto v) { return std::abs(v[0] - v[1]); });
    for (const double gap : gaps.values) {
      if (std::abs(gap - 0.7) < 1e-4) return true;
    }
    return false;
  };
  all.push_back(pair("huber_loss", huber_of, huber));
  all.back().near_kink = at_delta;  // the slope has a kink there
  all.push_back(weighted("huber_loss_weighted", huber_of, huber));
  all.back().near_kink = at_delta;
  all.push_back(pair("poisson_nll_loss", poisson_nll_loss, poisson));
  all.back().inputs = {Draw::number(0.1, 2), Draw::number(0.1, 3)};
  all.push_back(weighted("poisson_nll_loss_weighted", poisson_nll_loss, poisson));
  all.back().inputs = {Draw::number(0.1, 2), Draw::number(0.1, 3), Draw::number(0.5, 2)};
  all.push_back(weighted("mse_loss_weighted", mse_loss,
                         [](double y, double t) { return (y - t) * (y - t); }));
  all.push_back(
      weighted("l1_loss_weighted", l1_loss, [](double y, double t) { return std::abs(y - t); }));
  all.back().near_kink = ties_between();
  all.push_back(weighted("binary_cross_entropy_with_logits_weighted",
                         binary_cross_entropy_with_logits, binary));
  for (const int axis : {0, -1}) {
    OpCase row{axis == 0 ? "kl_div_along_axis_0" : "kl_div",
               {{{2, 3}, {2, 3}}, {{4}, {4}}, {{1, 1}, {1, 1}}, {{3, 2}, {3, 2}}},
               [=](auto x) { return mean(kl_div(x[0], x[1], axis)); },
               [=](auto x) {
                 double s = 0;
                 for (std::size_t i = 0; i < x[0].values.size(); ++i)
                   s += x[1].values[i] * (std::log(x[1].values[i]) - x[0].values[i]);
                 const Shape& shape = x[0].shape;
                 return Array{
                     {},
                     {s * double(shape[axis == 0 ? 0 : shape.rank() - 1]) / double(shape.size())}};
               }};
    row.inputs = {Draw::number(0.1, 3), Draw::number(0.1, 1)};
    all.push_back(row);
  }
  all.push_back({"r2",
                 {{{4}, {4}}, {{2, 3}, {2, 3}}, {{3, 1}, {3, 1}}, {{2}, {2}}, {{1, 5}, {1, 5}}},
                 [](auto x) { return mean(r2(x[0], x[1])); },
                 [](auto x) {
                   const double m = total(x[1].values) / double(x[1].values.size());
                   double residual = 0, all_of_it = 0;
                   for (std::size_t i = 0; i < x[0].values.size(); ++i) {
                     residual += std::pow(x[0].values[i] - x[1].values[i], 2);
                     all_of_it += std::pow(x[1].values[i] - m, 2);
                   }
                   return Array{{}, {1 - residual / all_of_it}};
                 }});
  all.back().inputs = {Draw::number(-1, 1), Draw::number(-3, 3)};
  all.back().gradient_tolerance = 1e-5;
  all.push_back(pair("mse_loss", mse_loss, [](double y, double t) { return (y - t) * (y - t); }));
  all.push_back(pair("l1_loss", l1_loss, [](double y, double t) { return std::abs(y - t); }));
  all.back().near_kink = ties_between();
  all.push_back(pair("binary_cross_entropy_with_logits", binary_cross_entropy_with_logits,
                     [](double x, double t) { return std::log1p(std::exp(x)) - t * x; }));
  all.push_back({"penalty_beside_losses_with_a_factor",
                 {{{4}, {4}}, {{2, 3}, {2, 3}}, {{1}, {1}}, {{}, {}}, {{2, 1, 2}, {2, 1, 2}}},
                 [](auto x) {
                   return mean(0.5 * (mse_loss(x[0], x[1]) + mse_loss(x[0], x[1])) +
                               penalty(0.1 * sum(square(x[0]))));
                 },
                 [](auto x) {
                   double s = 0, p = 0;
                   for (std::size_t i = 0; i < x[0].values.size(); ++i) {
                     s += (x[0].values[i] - x[1].values[i]) * (x[0].values[i] - x[1].values[i]);
                     p += x[0].values[i] * x[0].values[i];
                   }
                   return Array{{}, {s / double(x[0].values.size()) + 0.1 * p}};
                 }});
  return all;
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

BOOST_AUTO_TEST_CASE(a_sample_of_weight_zero_adds_nothing_even_if_it_is_not_finite) {
  const Expr y = input("y", {2, 2}, DType::f64), w = input("w", {2}, DType::f64);
  const Loss loss = mse_loss(y, constant(zeros({2, 2}, DType::f64)), w);
  const double inf = std::numeric_limits<double>::infinity();
  const Feeds feeds = {{y, tensor({1.0, 3.0, inf, inf}, {2, 2})}, {w, tensor({2.0, 0.0}, {2})}};
  BOOST_TEST(evaluate(mean(loss), feeds).at(0) == 5);
  BOOST_TEST(to_string(evaluate(grad(loss, {y})[0], feeds)) == "[[1, 3], [0, 0]]");
}

BOOST_AUTO_TEST_CASE(a_count_below_zero_is_an_error_of_the_run) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Expr x = input("x", {2, 2}, dtype), t = input("t", {2, 2}, dtype);
    const Loss loss = poisson_nll_loss(x, t);
    const Tensor bad = tensor({1.0, 0.0, 2.0, -0.5}, {2, 2}).astype(dtype);
    const std::string text =
        error_of([&] { evaluate(mean(loss), {{x, zeros({2, 2}, dtype)}, {t, bad}}); });
    BOOST_TEST(text.starts_with("poisson_nll_loss (losses_cases.cpp:"), text);
    BOOST_TEST(text.ends_with("): count -0.5 at position [1, 1] is negative; step 0 of this run "
                              "updated nothing"),
               text);
  }
}

BOOST_AUTO_TEST_CASE(a_probability_of_zero_adds_nothing_to_a_divergence) {
  const Expr p = input("p", {2}, DType::f64), q = input("q", {2}, DType::f64);
  const Loss loss = kl_div(p, q);
  const double inf = std::numeric_limits<double>::infinity();
  const Feeds feeds = {{p, tensor({-inf, 0.0}, {2})}, {q, tensor({0.0, 1.0}, {2})}};
  BOOST_TEST(evaluate(mean(loss), feeds).at(0) == 0);
  BOOST_TEST(to_string(evaluate(grad(loss, {p})[0], feeds)) == "[0, -1]");
  BOOST_TEST(to_string(evaluate(grad(loss, {q})[0], feeds)) == "[0, 1]");
}

BOOST_AUTO_TEST_CASE(r2_with_a_given_mean_adds_up_over_batches) {
  const Tensor y = tensor({1.0, 2.0, 2.5, 4.5}, {4}), t = tensor({1.0, 2.5, 3.0, 5.5}, {4});
  const auto value = [&](const Loss& loss, const Tensor& a, const Tensor& b, const Expr& x,
                         const Expr& z) {
    const Feeds feeds = {{x, a}, {z, b}};
    return std::pair(evaluate(loss.sum, feeds).at(0), evaluate(loss.weight, feeds).at(0));
  };
  const Expr x = input("x", {4}, DType::f64), z = input("z", {4}, DType::f64);
  const Expr u = input("u", {2}, DType::f64), v = input("v", {2}, DType::f64);
  const Expr centre = constant(full({}, 3, DType::f64));
  const auto whole = value(r2(x, z), y, t, x, z);
  const Loss half = r2(u, v, centre);
  const auto first = value(half, y.rows(0, 2), t.rows(0, 2), u, v);
  const auto second = value(half, y.rows(2, 4), t.rows(2, 4), u, v);
  BOOST_TEST(
      whole.first / whole.second == (first.first + second.first) / (first.second + second.second),
      boost::test_tools::tolerance(1e-15));
  BOOST_TEST(evaluate(mean(r2(x, z)), {{x, y}, {z, ones({4}, DType::f64)}}).at(0) == 0);
}

BOOST_AUTO_TEST_CASE(losses_of_two_byte_numbers_are_f32) {
  const Expr x = input("x", {1000, 2}, DType::bf16);
  const Loss pairs_of_them = mse_loss(x, x + 1);
  const Loss classes = cross_entropy(x, constant(zeros({1000}, DType::i32)));
  const Feeds feeds = {{x, zeros({1000, 2}, DType::bf16)}};
  BOOST_TEST((pairs_of_them.sum.dtype() == DType::f32));
  BOOST_TEST(evaluate(pairs_of_them.weight, feeds).at(0) == 2000);
  BOOST_TEST(evaluate(mean(pairs_of_them), feeds).at(0) == 1);
  BOOST_TEST(evaluate(mean(classes), feeds).at(0) == std::log(2.0),
             boost::test_tools::tolerance(1e-6));
}

BOOST_AUTO_TEST_CASE(the_gradient_of_a_binary_loss_is_the_difference_itself) {
  const Expr x = input("x", {2}), t = input("t", {2});
  const Expr g = grad(binary_cross_entropy_with_logits(x, t).sum, {x})[0];
  const Tensor logits = tensor({0.3f, -20.f}, {2}), targets = tensor({0.57f, 1e-9f}, {2});
  const Tensor p = evaluate(sigmoid(x), {{x, logits}});
  const Tensor got = evaluate(g, {{x, logits}, {t, targets}});
  for (std::size_t i = 0; i < 2; ++i)
    BOOST_TEST(got.span<float>()[i] == p.span<float>()[i] - targets.span<float>()[i]);
}

BOOST_AUTO_TEST_CASE(misuse_of_losses_is_named) {
  const Expr x = input("x", {2, 3}), i = input("i", {2}, DType::i32), w = input("w", {3});
  const Expr t = input("t", {2, 3});
  check_refusal([&] { mse_loss(x, t, w); }, "mse_loss",
                "weights must have shape [2, 3] or its leading axes, got [3]");
  check_refusal([&] { mse_loss(i, i); }, "mse_loss", "wants a floating dtype, got i32");
  check_refusal([&] { huber_loss(x, t, 0); }, "huber_loss", "delta must be positive, got 0");
  check_refusal([&] { kl_div(x, w); }, "kl_div", "shapes must be equal, got [2, 3] and [3]");
  check_refusal([&] { poisson_nll_loss(x, i); }, "poisson_nll_loss",
                "shapes must be equal, got [2, 3] and [2]");
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
