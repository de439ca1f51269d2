// Reductions over every set of axes; ties, NaN and empty axes.
#include "blockgrad/ops/reductions.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <numeric>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "tests/ops/refusal.h"
#include "tests/support/op_check.h"

using namespace blockgrad;
using namespace op_check;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
const double not_a_number = std::numeric_limits<double>::quiet_NaN();
const std::vector<std::vector<Shape>> any_shape = {{{}}, {{5}}, {{2, 3}}, {{1}}, {{3, 1, 2}}};
const std::vector<std::vector<Shape>> cubes = {{{2, 3, 4}}, {{1, 3, 1}}, {{5, 1, 9}}};

double total(const std::vector<double>& line) {
  return std::accumulate(line.begin(), line.end(), 0.0);
}
double log_sum(const std::vector<double>& line) {
  double s = 0;
  for (const double v : line) s += std::exp(v);
  return std::log(s);
}
double product(const std::vector<double>& line) {
  return std::accumulate(line.begin(), line.end(), 1.0, std::multiplies<>());
}
double variance(const std::vector<double>& line) {
  const double m = total(line) / double(line.size());
  double s = 0;
  for (const double v : line) s += (v - m) * (v - m);
  return s / double(line.size());
}
double length(const std::vector<double>& line) {
  double s = 0;
  for (const double v : line) s += v * v;
  return std::sqrt(s);
}
double largest(const std::vector<double>& line) {
  return *std::max_element(line.begin(), line.end());
}
double smallest(const std::vector<double>& line) {
  return *std::min_element(line.begin(), line.end());
}
double place_of_largest(const std::vector<double>& line) {
  return double(std::max_element(line.begin(), line.end()) - line.begin());
}
double place_of_smallest(const std::vector<double>& line) {
  return double(std::min_element(line.begin(), line.end()) - line.begin());
}

using Fold = double (*)(const std::vector<double>&);

OpCase row(std::string name, std::vector<std::vector<Shape>> shapes,
           Expr (*op)(Arg, const Axes&, bool), Fold fold, std::vector<int> axes, bool keepdims,
           bool takes_integers = false) {
  return {std::move(name),
          std::move(shapes),
          [=](auto x) {
            Axes list;
            list.list = axes;
            return op(x[0], list, keepdims);
          },
          [=](auto x) { return along(x[0], axes, keepdims, fold); },
          -2,
          2,
          true,
          takes_integers};
}

std::vector<OpCase> rows() {
  std::vector<OpCase> all;
  struct Kind {
    const char* name;
    Expr (*op)(Arg, const Axes&, bool);
    Fold fold;
    bool takes_integers;
  };
  const Kind kinds[] = {
      {"sum", sum, total, true},
      {"mean", mean, [](const std::vector<double>& l) { return total(l) / double(l.size()); },
       false},
      {"max", max, largest, true},
      {"min", min, smallest, true},
      {"prod", prod, product, true},
      {"logsumexp", logsumexp, log_sum, false},
      {"norm", norm, length, false},
      {"var", [](Arg x, const Axes& axes, bool keepdims) { return var(x, axes, keepdims); },
       variance, false}};
  for (const Kind& k : kinds) {
    const std::string name = k.name;
    all.push_back(row(name + "_of_all", any_shape, k.op, k.fold, {}, false, k.takes_integers));
    all.push_back(row(name + "_keeping_all_axes", any_shape, k.op, k.fold, {}, true));
    all.push_back(
        row(name + "_of_the_last_axis", cubes, k.op, k.fold, {-1}, false, k.takes_integers));
    all.push_back(row(name + "_of_the_middle_axis", cubes, k.op, k.fold, {1}, false));
    all.push_back(row(name + "_of_the_first_axis_kept", cubes, k.op, k.fold, {0}, true));
    all.push_back(row(name + "_of_the_outer_axes", cubes, k.op, k.fold, {0, -1}, false));
  }
  for (OpCase& one : all) {
    if (one.name.starts_with("max") || one.name.starts_with("min")) one.near_kink = ties_within();
  }
  // The root of a variance of 0 has a kink: lines of one element are in a case of their own.
  for (const bool keepdims : {false, true}) {
    for (const std::vector<int>& axes : {std::vector<int>{-1}, {1, 2}, {0, -1}, {}}) {
      std::string where = axes.empty() ? "_over_all_axes" : "_over_axes";
      for (const int axis : axes) where += "_" + std::to_string(axis);
      all.push_back({"stddev" + where + (keepdims ? "_kept" : ""),
                     {{{2, 3, 4}}, {{1, 3, 2}}, {{5, 1, 9}}},
                     [=](auto x) {
                       Axes list;
                       list.list = axes;
                       return stddev(x[0], list, keepdims, 0.5);
                     },
                     [=](auto x) {
                       return along(x[0], axes, keepdims, [](const std::vector<double>& l) {
                         const auto n = double(l.size());
                         return std::sqrt(variance(l) * n / (n - 0.5));
                       });
                     }});
    }
  }
  all.push_back({"var_with_a_correction",
                 {{{4}}, {{2, 5}}, {{3, 1, 2}}},
                 [](auto x) { return var(x[0], -1, false, 1); },
                 [](auto x) {
                   return along(x[0], {-1}, false, [](const std::vector<double>& l) {
                     return variance(l) * double(l.size()) / (double(l.size()) - 1);
                   });
                 }});
  all.push_back(
      row("prod_of_odd_lengths", {{{2, 7}}, {{3, 11}}, {{1, 13}}}, prod, product, {1}, false));
  all.push_back(row("prod_of_nothing", {{{0}}, {{0, 3}}}, prod, product, {0}, false, true));
  all.push_back(row("prod_that_leaves_nothing", {{{0, 3}}}, prod, product, {1}, true));
  all.push_back(row("norm_of_nothing", {{{0}}, {{0, 3}}}, norm, length, {0}, false));
  all.push_back(row("norm_that_leaves_nothing", {{{0, 3}}}, norm, length, {1}, false));
  all.push_back(row("logsumexp_of_nothing", {{{0}}, {{0, 3}}}, logsumexp, log_sum, {0}, false));
  all.push_back(row("sum_of_nothing", {{{0}}, {{0, 3}}, {{3, 0}}}, sum, total, {}, false));
  all.push_back(row("sum_of_an_empty_axis", {{{0, 3}}}, sum, total, {0}, false));
  all.push_back(row("sum_that_leaves_nothing", {{{0, 3}}}, sum, total, {1}, false));
  all.push_back(row("max_that_leaves_nothing", {{{0, 3}}}, max, largest, {1}, false));
  all.push_back(
      row("sum_of_a_long_line", {{{1000}}, {{700, 3}}, {{3, 700}}}, sum, total, {}, false));
  all.push_back(row("sum_of_long_columns", {{{700, 3}}, {{130, 65}}}, sum, total, {0}, false));
  for (OpCase* long_one = &all.back() - 1; long_one <= &all.back(); ++long_one) {
    long_one->tolerance32 = 2e-5;
    long_one->low = 0.5;
  }
  for (const int axis : {0, 1, -1}) {
    for (const bool keepdims : {false, true}) {
      const std::string where = "_along_axis_" + std::to_string(axis) + (keepdims ? "_kept" : "");
      all.push_back({"logsumexp" + where, cubes,
                     [=](auto x) { return logsumexp(x[0], axis, keepdims); },
                     [=](auto x) { return along(x[0], {axis}, keepdims, log_sum); }});
      all.push_back({"argmax" + where, cubes, [=](auto x) { return argmax(x[0], axis, keepdims); },
                     [=](auto x) { return along(x[0], {axis}, keepdims, place_of_largest); }, -2, 2,
                     false, true});
      all.push_back({"argmin" + where, cubes, [=](auto x) { return argmin(x[0], axis, keepdims); },
                     [=](auto x) { return along(x[0], {axis}, keepdims, place_of_smallest); }, -2,
                     2, false, true});
    }
  }
  all.push_back({"variance_from_two_means",
                 {{{4}}, {{2, 5}}},
                 [](auto x) { return mean(square(x[0] - mean(x[0], -1, true)), -1); },
                 [](auto x) { return along(x[0], {-1}, false, variance); }});
  return all;
}

Tensor gradient_at(Expr (*f)(const Expr&), const Tensor& x) {
  const Expr v = input("v", x.shape(), x.dtype());
  return evaluate(grad(sum(f(v)), {v})[0], {{v, x}});
}

double value_at(Expr (*f)(const Expr&), const Tensor& x) {
  const Expr v = input("v", x.shape(), x.dtype());
  return evaluate(f(v), {{v, x}}).at(0);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(reductions)

BG_CASES(rows())

BOOST_AUTO_TEST_CASE(equal_largest_elements_share_the_gradient) {
  const Tensor g =
      gradient_at([](const Expr& x) { return max(x); }, tensor({1.0, 3.0, 3.0, 2.0, 3.0}, {5}));
  BOOST_TEST(g.at(0) == 0);
  BOOST_TEST(g.at(1) == 1.0 / 3);
  BOOST_TEST(g.at(4) == 1.0 / 3);
  const Tensor h =
      gradient_at([](const Expr& x) { return min(x, 1); }, tensor({1.0, 1.0, 5.0, 2.0}, {2, 2}));
  BOOST_TEST(h.at(0) == 0.5);
  BOOST_TEST(h.at(1) == 0.5);
  BOOST_TEST(h.at(2) == 0);
  BOOST_TEST(h.at(3) == 1);
}

BOOST_AUTO_TEST_CASE(a_nan_wins_and_takes_the_gradient) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const int n : {3, 40, 700}) {
      std::vector<double> values(static_cast<std::size_t>(n), 1.0);
      values[static_cast<std::size_t>(n / 2)] = not_a_number;
      const Tensor x = tensor(std::span<const double>(values), {n}).astype(dtype);
      BOOST_TEST(std::isnan(value_at([](const Expr& e) { return max(e); }, x)));
      BOOST_TEST(std::isnan(value_at([](const Expr& e) { return min(e); }, x)));
      BOOST_TEST(value_at([](const Expr& e) { return argmax(e, 0); }, x) == n / 2);
      BOOST_TEST(value_at([](const Expr& e) { return argmin(e, 0); }, x) == n / 2);
      const Tensor g = gradient_at([](const Expr& e) { return max(e); }, x);
      BOOST_TEST(g.at(n / 2) == 1);
      BOOST_TEST(g.at(0) == 0);
    }
  }
}

BOOST_AUTO_TEST_CASE(the_first_of_ties_is_picked) {
  const Tensor x = tensor({2.0, 5.0, 1.0, 5.0, 1.0}, {5});
  BOOST_TEST(value_at([](const Expr& e) { return argmax(e, 0); }, x) == 1);
  BOOST_TEST(value_at([](const Expr& e) { return argmin(e, 0); }, x) == 2);
}

BOOST_AUTO_TEST_CASE(empty_axes_have_their_values) {
  const Expr x = input("x", {2, 0}, DType::f64);
  const Tensor none = zeros({2, 0}, DType::f64);
  BOOST_TEST(evaluate(sum(x, 1), {{x, none}}).at(1) == 0);
  BOOST_TEST(std::isnan(evaluate(mean(x), {{x, none}}).at(0)));
  BOOST_TEST(evaluate(logsumexp(x, 1), {{x, none}}).at(1) == -inf);
  const Expr b = input("b", {0}, DType::boolean);
  BOOST_TEST(evaluate(all(b), {{b, zeros({0}, DType::boolean)}}).at(0) == 1);
  BOOST_TEST(evaluate(any(b), {{b, zeros({0}, DType::boolean)}}).at(0) == 0);
}

BOOST_AUTO_TEST_CASE(logsumexp_stays_finite_and_keeps_infinities) {
  const auto f = [](const Expr& e) { return logsumexp(e, 0); };
  BOOST_TEST(value_at(f, tensor({1e4, 1e4}, {2})) == 1e4 + std::log(2.0));
  BOOST_TEST(value_at(f, tensor({-1e4, -1e4}, {2})) == -1e4 + std::log(2.0));
  BOOST_TEST(value_at(f, tensor({-inf, -inf}, {2})) == -inf);
  BOOST_TEST(value_at(f, tensor({-inf, 3.0}, {2})) == 3.0);
  BOOST_TEST(value_at(f, tensor({inf, 3.0}, {2})) == inf);
  BOOST_TEST(std::isnan(value_at(f, tensor({not_a_number, 3.0}, {2}))));
  const Tensor g = gradient_at(f, tensor({-inf, -inf}, {2}));
  BOOST_TEST(g.at(0) == 0);
  const Tensor h = gradient_at(f, tensor({-inf, 3.0}, {2}));
  BOOST_TEST(h.at(0) == 0);
  BOOST_TEST(h.at(1) == 1);
}

BOOST_AUTO_TEST_CASE(gradients_of_a_product_are_right_at_zeros) {
  const auto f = [](const Expr& e) { return prod(e); };
  const Tensor one = gradient_at(f, tensor({2.0, 0.0, 3.0}, {3}));
  BOOST_TEST(to_string(one) == "[0, 6, 0]");
  const Tensor two = gradient_at(f, tensor({0.0, 0.0, 3.0}, {3}));
  BOOST_TEST(to_string(two) == "[0, 0, 0]");
  const Expr x = input("x", {3}, DType::f64);
  const Expr second = grad(sum(grad(prod(x), {x})[0]), {x})[0];
  // d2/dx_i dx_j is the product of the others: row sums at (2, 0, 3).
  BOOST_TEST(to_string(evaluate(second, {{x, tensor({2.0, 0.0, 3.0}, {3})}})) == "[3, 5, 2]");
}

BOOST_AUTO_TEST_CASE(products_of_integers_are_i64) {
  const Expr i = input("i", {3}, DType::i32);
  const Tensor y = evaluate(prod(i), {{i, tensor({2147483647, 2, -1}, {3})}});
  BOOST_TEST((y.dtype() == DType::i64));
  BOOST_TEST(y.at(0) == -4294967294.0);
}

BOOST_AUTO_TEST_CASE(a_variance_keeps_its_digits_beside_a_large_mean) {
  // Mean 1e6, spread 1: the mean of f32 numbers is itself rounded.
  std::vector<float> values;
  double exact = 0, m = 0;
  const int n = 1000;
  for (int i = 0; i < n; ++i)
    values.push_back(1e6f + 0.0625f * static_cast<float>((i * 37) % 33 - 16));
  for (const float v : values) m += static_cast<double>(v) / n;
  for (const float v : values) exact += (static_cast<double>(v) - m) * (static_cast<double>(v) - m);
  exact /= n;
  const Expr x = input("x", {n});
  const Tensor data = tensor(std::span<const float>(values), {n});
  BOOST_TEST(evaluate(var(x), {{x, data}}).at(0) == exact, boost::test_tools::tolerance(1e-6));
  BOOST_TEST(evaluate(stddev(x), {{x, data}}).at(0) == std::sqrt(exact),
             boost::test_tools::tolerance(1e-6));
}

BOOST_AUTO_TEST_CASE(a_variance_of_too_few_elements_is_nan) {
  const Expr x = input("x", {2, 1}, DType::f64), none = input("none", {2, 0}, DType::f64);
  const Feeds feeds = {{x, ones({2, 1}, DType::f64)}, {none, zeros({2, 0}, DType::f64)}};
  BOOST_TEST(evaluate(var(x, 1), feeds).at(0) == 0);
  for (const Expr& e : {var(x, 1, false, 1), var(x, 1, false, 2), stddev(x, 1, false, 1),
                        var(none, 1), stddev(none, 1)}) {
    const Tensor y = evaluate(e, feeds);
    BOOST_TEST((y.shape() == Shape{2}));
    BOOST_TEST(std::isnan(y.at(0)));
    BOOST_TEST(std::isnan(y.at(1)));
  }
}

BOOST_AUTO_TEST_CASE(two_byte_numbers_are_reduced_as_f32) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    const Expr x = input("x", {4}, dtype);
    const Feeds feeds = {{x, tensor({1.0, 2.0, 3.0, 4.0}, {4}).astype(dtype)}};
    const auto check = [&](const Expr& y, double expected) {
      BOOST_TEST((y.dtype() == dtype));
      BOOST_TEST(evaluate(y, feeds).at(0) == expected);
    };
    check(prod(x), 24);
    check(var(x), 1.25);
    check(norm(x * 0 + 1), 2);
    check(grad(prod(x), {x})[0], 24);
  }
}

BOOST_AUTO_TEST_CASE(roots_of_zero_have_no_gradient) {
  const Tensor equal = tensor({3.0, 3.0, 3.0}, {3}), nothing = zeros({3}, DType::f64);
  BOOST_TEST(to_string(gradient_at([](const Expr& e) { return stddev(e); }, equal)) == "[0, 0, 0]");
  BOOST_TEST(to_string(gradient_at([](const Expr& e) { return norm(e); }, nothing)) == "[0, 0, 0]");
  BOOST_TEST(value_at([](const Expr& e) { return norm(e); }, nothing) == 0);
}

BOOST_AUTO_TEST_CASE(a_norm_neither_overflows_nor_underflows) {
  const auto f = [](const Expr& e) { return norm(e); };
  BOOST_TEST(value_at(f, tensor({3e38f, -3e38f * 0, 0.f}, {3})) == 3e38f);
  BOOST_TEST(value_at(f, tensor({3e300, 4e300}, {2})) == 5e300,
             boost::test_tools::tolerance(1e-15));
  BOOST_TEST(value_at(f, tensor({3e-300, 4e-300}, {2})) == 5e-300,
             boost::test_tools::tolerance(1e-15));
  BOOST_TEST(value_at(f, tensor({-inf, 1.0}, {2})) == inf);
  BOOST_TEST(std::isnan(value_at(f, tensor({not_a_number, 1.0}, {2}))));
  const Tensor g = gradient_at(f, tensor({3e300, 4e300}, {2}));
  BOOST_TEST(g.at(0) == 0.6, boost::test_tools::tolerance(1e-15));
}

BOOST_AUTO_TEST_CASE(logsumexp_over_several_axes_keeps_infinities) {
  const Expr x = input("x", {2, 2, 2}, DType::f64);
  const Tensor data = tensor({-inf, 1.0, -inf, 2.0, -inf, 3.0, -inf, -inf}, {2, 2, 2});
  const Expr y = logsumexp(x, {0, 1});
  const Tensor values = evaluate(y, {{x, data}});
  BOOST_TEST(values.at(0) == -inf);
  BOOST_TEST(values.at(1) == 3 + std::log(1 + std::exp(-1.0) + std::exp(-2.0)),
             boost::test_tools::tolerance(1e-15));
  const Tensor g = evaluate(grad(sum(y), {x})[0], {{x, data}});
  for (const int e : {0, 2, 4, 6, 7}) BOOST_TEST(g.at(e) == 0);
  BOOST_TEST(g.at(1) + g.at(3) + g.at(5) == 1, boost::test_tools::tolerance(1e-15));
}

BOOST_AUTO_TEST_CASE(misuse_is_named) {
  const Expr x = input("x", {2, 3}), i = input("i", {2}, DType::i32);
  check_refusal([&] { var(i); }, "var", "wants a floating dtype, got i32");
  check_refusal([&] { stddev(i); }, "stddev", "wants a floating dtype, got i32");
  check_refusal([&] { norm(x, 2); }, "norm", "axis 2 is outside [-2, 2) for shape [2, 3]");
  check_refusal([&] { logsumexp(x, {0, -2}); }, "logsumexp",
                "axis -2 is named twice for shape [2, 3]");
  check_refusal([&] { prod(x > 0); }, "prod", "wants numbers, got bool");
  check_refusal([&] { prod(x, 5); }, "prod", "axis 5 is outside [-2, 2) for shape [2, 3]");
}

BOOST_AUTO_TEST_CASE(bools_and_integers_are_counted_in_i64) {
  const Expr b = input("b", {3}, DType::boolean);
  const Tensor n = evaluate(sum(b), {{b, tensor({true, false, true}, {3})}});
  BOOST_TEST((n.dtype() == DType::i64));
  BOOST_TEST(n.at(0) == 2);
  const Expr i = input("i", {2}, DType::i32);
  BOOST_TEST(evaluate(sum(i), {{i, tensor({2147483647, 2147483647}, {2})}}).at(0) == 4294967294.0);
  BOOST_TEST(evaluate(all(b), {{b, tensor({true, false, true}, {3})}}).at(0) == 0);
  BOOST_TEST(evaluate(any(b), {{b, tensor({true, false, true}, {3})}}).at(0) == 1);
}

BOOST_AUTO_TEST_CASE(a_sum_keeps_its_digits_where_a_running_sum_would_not) {
  // 2^24 ones in f32: a running sum stops growing at 2^24, blocks do not.
  const std::int64_t n = (std::int64_t{1} << 24) + 64;
  const Expr x = input("x", {n}, DType::f32);
  BOOST_TEST(evaluate(sum(x), {{x, ones({n})}}).at(0) == static_cast<double>(n));
}

BOOST_AUTO_TEST_SUITE_END()
