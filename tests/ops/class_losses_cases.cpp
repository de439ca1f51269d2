// Losses and metrics of classes: labels along every axis, ignored ones, smoothing, weights.
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

// Of classes along `axis`: the mean of f(line, label) over labels that are not `ignored`.
OpCase of_labels(std::string name, int axis, std::int64_t ignored, bool has_gradient,
                 std::function<Loss(const Expr&, const Expr&)> loss,
                 std::function<double(const std::vector<double>&, std::size_t)> f) {
  OpCase row{std::move(name),
             {{{4, 3}, {4}}, {{5, 3}, {5}}, {{1, 3}, {1}}},
             [=](auto x) { return mean(loss(x[0], x[1])); },
             [=](auto x) {
               const auto a = static_cast<std::size_t>(axis);
               const std::int64_t classes = x[0].shape[axis];
               double s = 0, n = 0;
               make_array(x[1].shape, [&](const Index& index) {
                 const auto label = static_cast<std::int64_t>(x[1].at(index));
                 if (label == ignored) return 0.0;
                 Index from = index;
                 from.insert(from.begin() + axis, 0);
                 std::vector<double> line;
                 for (from[a] = 0; from[a] < classes; ++from[a]) line.push_back(x[0].at(from));
                 s += f(line, static_cast<std::size_t>(label));
                 n += 1;
                 return 0.0;
               });
               return Array{{}, {n == 0 ? 0 : s / n}};
             }};
  if (axis == 0) row.shapes = {{{4, 3}, {3}}, {{3}, {}}, {{5, 2, 2}, {2, 2}}};
  if (axis == 1)
    row.shapes = {{{4, 3}, {4}},
                  {{2, 4, 3}, {2, 3}},
                  {{1, 3, 1}, {1, 1}},
                  {{2, 5, 1}, {2, 1}},
                  {{3, 3, 2}, {3, 2}}};
  row.inputs = {has_gradient ? Draw::number() : Draw::number().without_gradient(), Draw::index(3)};
  return row;
}

double log_sum(const std::vector<double>& line) {
  double z = 0;
  for (const double v : line) z += std::exp(v);
  return std::log(z);
}
double total(const std::vector<double>& line) {
  double s = 0;
  for (const double v : line) s += v;
  return s;
}
// How many are larger, or equal and earlier.
std::size_t place(const std::vector<double>& line, std::size_t label) {
  std::size_t before = 0;
  for (std::size_t c = 0; c < line.size(); ++c)
    before += line[c] > line[label] || (line[c] == line[label] && c < label) ? 1 : 0;
  return before;
}

std::vector<OpCase> rows() {
  std::vector<OpCase> all;
  for (const int axis : {0, 1}) {
    const std::string where = "_along_axis_" + std::to_string(axis);
    const auto no_label = std::int64_t{-1};
    all.push_back(of_labels(
        "cross_entropy" + where, axis, no_label, true,
        [=](const Expr& x, const Expr& i) { return cross_entropy(x, i, {.axis = axis}); },
        [](const auto& l, std::size_t label) { return log_sum(l) - l[label]; }));
    all.push_back(of_labels(
        "cross_entropy_ignoring" + where, axis, 1, true,
        [=](const Expr& x, const Expr& i) {
          return cross_entropy(x, i, {.axis = axis, .ignore_index = 1});
        },
        [](const auto& l, std::size_t label) { return log_sum(l) - l[label]; }));
    all.push_back(of_labels(
        "cross_entropy_smoothed" + where, axis, no_label, true,
        [=](const Expr& x, const Expr& i) {
          return cross_entropy(x, i, {.axis = axis, .label_smoothing = 0.3});
        },
        [](const auto& l, std::size_t label) {
          return log_sum(l) - 0.7 * l[label] - 0.3 * total(l) / double(l.size());
        }));
    all.push_back(of_labels(
        "nll_loss" + where, axis, no_label, true,
        [=](const Expr& x, const Expr& i) { return nll_loss(x, i, {.axis = axis}); },
        [](const auto& l, std::size_t label) { return -l[label]; }));
    all.push_back(of_labels(
        "nll_loss_ignoring" + where, axis, 2, true,
        [=](const Expr& x, const Expr& i) {
          return nll_loss(x, i, {.axis = axis, .ignore_index = 2});
        },
        [](const auto& l, std::size_t label) { return -l[label]; }));
    all.push_back(of_labels(
        "accuracy" + where, axis, no_label, false,
        [=](const Expr& x, const Expr& i) { return accuracy(x, i, {.axis = axis}); },
        [](const auto& l, std::size_t label) { return double(place(l, label) == 0); }));
    all.push_back(of_labels(
        "topk_accuracy" + where, axis, 0, false,
        [=](const Expr& x, const Expr& i) {
          return topk_accuracy(x, i, 2, {.axis = axis, .ignore_index = 0});
        },
        [](const auto& l, std::size_t label) { return double(place(l, label) < 2); }));
  }
  all.push_back(of_labels(
      "perplexity", 1, -1, true,
      [](const Expr& x, const Expr& i) {
        return Loss{
            perplexity(cross_entropy(x, i, {.axis = 1})), constant(full({}, 1, x.dtype())), {}};
      },
      [](const auto&, std::size_t) { return 0.0; }));
  const auto same = std::find_if(all.begin(), all.end(), [](const OpCase& one) {
    return one.name == "cross_entropy_along_axis_1";
  });
  all.back().reference = [reference = same->reference](auto x) {
    return Array{{}, {std::exp(reference(x).values[0])}};
  };
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
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(class_losses)

BG_CASES(rows())

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

BOOST_AUTO_TEST_CASE(ignored_labels_weigh_nothing_and_may_lie_outside) {
  const Expr x = input("x", {3, 2}, DType::f64), labels = input("labels", {3}, DType::i64);
  const Loss loss = cross_entropy(x, labels, {.ignore_index = -100});
  const Expr g = grad(loss, {x})[0];
  const auto feeds = [&](std::int64_t a, std::int64_t b, std::int64_t c) {
    return Feeds{{x, zeros({3, 2}, DType::f64)}, {labels, tensor({a, b, c}, {3})}};
  };
  BOOST_TEST(evaluate(loss.weight, feeds(-100, 1, 0)).at(0) == 2);
  BOOST_TEST(evaluate(mean(loss), feeds(-100, 1, 0)).at(0) == std::log(2.0),
             boost::test_tools::tolerance(1e-15));
  const double expected[] = {0, 0, 0.25, -0.25, -0.25, 0.25};
  const Tensor some = evaluate(g, feeds(-100, 1, 0)), none = evaluate(g, feeds(-100, -100, -100));
  for (std::int64_t e = 0; e < 6; ++e) {
    BOOST_TEST(some.at(e) == expected[e]);
    BOOST_TEST(none.at(e) == 0);
  }
  BOOST_TEST(evaluate(mean(loss), feeds(-100, -100, -100)).at(0) == 0);
}

BOOST_AUTO_TEST_CASE(weights_of_labels_and_ignored_labels_go_together) {
  const Expr x = input("x", {3, 2}, DType::f64), w = input("w", {3}, DType::f64);
  const Loss loss =
      cross_entropy(x, constant(tensor({0, 1, 1}, {3})), {.ignore_index = 0, .weights = w});
  const Feeds feeds = {{x, zeros({3, 2}, DType::f64)}, {w, tensor({5.0, 1.0, 3.0}, {3})}};
  BOOST_TEST(evaluate(loss.weight, feeds).at(0) == 4);
  BOOST_TEST(evaluate(loss.sum, feeds).at(0) == 4 * std::log(2.0),
             boost::test_tools::tolerance(1e-15));
}

BOOST_AUTO_TEST_CASE(misuse_is_named) {
  const Expr x = input("x", {2, 3}), i = input("i", {2}, DType::i32), w = input("w", {3});
  const Expr t = input("t", {2, 3});
  check_refusal([&] { cross_entropy(x, i, {.label_smoothing = 1.5}); }, "cross_entropy",
                "label_smoothing must lie in [0, 1], got 1.5");
  check_refusal([&] { cross_entropy(x, i, {.axis = 2}); }, "cross_entropy",
                "axis 2 is outside [-2, 2) for shape [2, 3]");
  check_refusal([&] { cross_entropy(x, i, {.ignore_index = std::int64_t{1} << 40}); },
                "cross_entropy", "ignore_index 1099511627776 does not fit i32");
  check_refusal([&] { cross_entropy(x, i, {.ignore_index = 1, .weights = w}); }, "cross_entropy",
                "weights must have shape [2], got [3]");
  check_refusal([&] { nll_loss(x, w); }, "nll_loss", "labels must be i32 or i64, got f32");
  check_refusal([&] { nll_loss(i, i); }, "nll_loss", "logits must be floating, got i32");
  check_refusal([&] { accuracy(x, input("j", {3}, DType::i32)); }, "accuracy",
                "logits [2, 3] want labels of shape [2], got [3]");
  check_refusal([&] { topk_accuracy(x, i, 4); }, "topk_accuracy", "k must lie in [1, 3], got 4");
  check_refusal([&] { cross_entropy(input("e", {2, 0}), i); }, "cross_entropy",
                "logits need at least one class, got [2, 0]");
}

BOOST_AUTO_TEST_SUITE_END()
