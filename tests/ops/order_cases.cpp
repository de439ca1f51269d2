// Sorting, the largest elements and running sums: ties, NaN, both directions, every axis.
#include "blockgrad/ops/order.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/index.h"
#include "blockgrad/ops/reductions.h"
#include "tests/ops/refusal.h"
#include "tests/support/op_check.h"

using namespace blockgrad;
using namespace op_check;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
const double not_a_number = std::numeric_limits<double>::quiet_NaN();
const std::vector<std::vector<Shape>> cubes = {
    {{2, 3, 4}}, {{1, 5, 1}}, {{6, 1, 2}}, {{1, 1, 1}}, {{3, 0, 2}}};

using Line = std::vector<double>;

// Each line of x along `axis` replaced by f of it, which keeps the length or cuts it.
Array per_line(const Array& x, int axis, const std::function<Line(const Line&)>& f) {
  const auto a = static_cast<std::size_t>(axis < 0 ? axis + x.shape.rank() : axis);
  const std::int64_t n = x.shape[static_cast<int>(a)];
  std::vector<std::int64_t> sizes(x.shape.sizes().begin(), x.shape.sizes().end());
  sizes[a] = static_cast<std::int64_t>(f(Line(static_cast<std::size_t>(n))).size());
  std::map<Index, Line> known;  // by the index without the axis
  return make_array(Shape(sizes), [&](const Index& index) {
    Index from = index;
    from[a] = 0;
    Line& line = known[from];
    if (line.empty()) {
      for (; from[a] < n; ++from[a]) line.push_back(x.at(from));
      line = f(line);
    }
    return line[static_cast<std::size_t>(index[a])];
  });
}

// Places in sorted order: NaN is the greatest, equal ones keep their order.
Line order(const Line& line, bool descending) {
  std::vector<std::size_t> places(line.size());
  std::iota(places.begin(), places.end(), std::size_t{0});
  const auto below = [&](std::size_t i, std::size_t k) {
    if (std::isnan(line[i])) return false;
    return std::isnan(line[k]) || line[i] < line[k];
  };
  std::stable_sort(places.begin(), places.end(), [&](std::size_t i, std::size_t k) {
    return descending ? below(k, i) : below(i, k);
  });
  return {places.begin(), places.end()};
}

Line sorted(const Line& line, bool descending) {
  Line result;
  for (const double place : order(line, descending))
    result.push_back(line[static_cast<std::size_t>(place)]);
  return result;
}

Line running(Line line, bool reverse) {
  if (reverse) std::reverse(line.begin(), line.end());
  std::partial_sum(line.begin(), line.end(), line.begin());
  if (reverse) std::reverse(line.begin(), line.end());
  return line;
}

std::vector<OpCase> rows() {
  std::vector<OpCase> all;
  for (const int axis : {0, 1, -1}) {
    for (const bool flag : {false, true}) {
      const std::string where =
          (axis < 0 ? std::string("_last_axis") : "_axis_" + std::to_string(axis));
      const std::string down = where + (flag ? "_descending" : "");
      all.push_back({"sort" + down, cubes, [=](auto x) { return sort(x[0], axis, flag); },
                     [=](auto x) {
                       return per_line(x[0], axis, [=](const Line& l) { return sorted(l, flag); });
                     },
                     -2, 2, true, true});
      all.push_back({"argsort" + down, cubes, [=](auto x) { return argsort(x[0], axis, flag); },
                     [=](auto x) {
                       return per_line(x[0], axis, [=](const Line& l) { return order(l, flag); });
                     },
                     -2, 2, false, true});
      all.push_back({"cumsum" + where + (flag ? "_reversed" : ""), cubes,
                     [=](auto x) { return cumsum(x[0], axis, flag); },
                     [=](auto x) {
                       return per_line(x[0], axis, [=](const Line& l) { return running(l, flag); });
                     },
                     -2, 2, true, true});
    }
  }
  for (OpCase& one : all) {
    if (one.name.starts_with("sort")) one.near_kink = ties_within();
  }
  const auto first = [](Line line, std::size_t k) {
    line.resize(k);
    return line;
  };
  const std::vector<std::vector<Shape>> wide = {{{3}}, {{2, 5}}, {{1, 3}}, {{2, 2, 20}}, {{0, 4}}};
  for (const std::size_t k : {std::size_t{0}, std::size_t{1}, std::size_t{3}}) {
    const auto count = static_cast<std::int64_t>(k);
    all.push_back(
        {"topk_values_" + std::to_string(k), wide, [=](auto x) { return topk(x[0], count).values; },
         [=](auto x) {
           return per_line(x[0], -1, [=](const Line& l) { return first(sorted(l, true), k); });
         },
         -2, 2, true, true});
    all.push_back({"topk_indices_" + std::to_string(k), wide,
                   [=](auto x) { return topk(x[0], count).indices; },
                   [=](auto x) {
                     return per_line(x[0], -1,
                                     [=](const Line& l) { return first(order(l, true), k); });
                   },
                   -2, 2, false, true});
  }
  all.push_back(
      {"cumsum_across_blocks",
       {{{600}}, {{260, 2}}},
       [](auto x) { return cumsum(x[0], 0); },
       [](auto x) { return per_line(x[0], 0, [](const Line& l) { return running(l, false); }); },
       -0.1,
       0.1});
  all.back().tolerance32 = 1e-5;
  all.push_back(
      {"cumsum_of_many_columns",
       {{{300, 70}}, {{2, 300, 130}}, {{3000, 3}}},
       [](auto x) { return cumsum(x[0], -2, true); },
       [](auto x) { return per_line(x[0], -2, [](const Line& l) { return running(l, true); }); },
       0.5,
       1,
       true,
       true});
  all.back().inputs = {Draw::number(0.5, 1).without_gradient()};  // too many
  all.back().tolerance32 = 1e-5;
  all.push_back(
      {"sort_of_long_lines",
       {{{1000}}, {{3, 400}}},
       [](auto x) { return sort(x[0]); },
       [](auto x) { return per_line(x[0], -1, [](const Line& l) { return sorted(l, false); }); },
       -2,
       2,
       true,
       true});
  all.back().inputs = {Draw::number(-2, 2).without_gradient()};  // too many
  all.push_back({"topk_of_long_lines",
                 {{{8, 600}}, {{700}}},
                 [](auto x) { return topk(x[0], 20).values; },
                 [first](auto x) {
                   return per_line(x[0], -1,
                                   [&](const Line& l) { return first(sorted(l, true), 20); });
                 },
                 -2,
                 2,
                 true,
                 true});
  all.back().inputs = {Draw::number(-2, 2).without_gradient()};  // too many
  return all;
}

std::string evaluated(Expr (*f)(const Expr&), const Tensor& x) {
  const Expr v = input("v", x.shape(), x.dtype());
  return to_string(evaluate(f(v), {{v, x}}));
}

}  // namespace

namespace order_cases {

BOOST_AUTO_TEST_SUITE(order)

BG_CASES(rows())

BOOST_AUTO_TEST_CASE(nan_is_the_greatest_and_ties_keep_their_order) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Tensor x =
        tensor({0.0, not_a_number, -inf, -0.0, inf, -1.5, -not_a_number, 0.0}, {8}).astype(dtype);
    BOOST_TEST(evaluated([](const Expr& e) { return argsort(e); }, x) ==
               "[2, 5, 0, 3, 7, 4, 1, 6]");
    BOOST_TEST(evaluated([](const Expr& e) { return argsort(e, 0, true); }, x) ==
               "[1, 6, 4, 0, 3, 7, 5, 2]");
    BOOST_TEST(evaluated([](const Expr& e) { return topk(e, 4).indices; }, x) == "[1, 6, 4, 0]");
    const Expr v = input("v", {8}, dtype);
    const Tensor y = evaluate(sort(v), {{v, x}});
    BOOST_TEST(std::signbit(y.at(3)));  // -0 after 0, as it came
    BOOST_TEST(!std::signbit(y.at(2)));
    BOOST_TEST(std::isnan(y.at(7)));
  }
}

BOOST_AUTO_TEST_CASE(extreme_integers_are_in_order) {
  const Tensor narrow = tensor({2147483647, -2147483647 - 1, 0, -1}, {4});
  BOOST_TEST(evaluated([](const Expr& e) { return argsort(e); }, narrow) == "[1, 3, 2, 0]");
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  const Tensor wide = tensor<std::int64_t>({most, -most - 1, 0, -1}, {4});
  BOOST_TEST(evaluated([](const Expr& e) { return argsort(e); }, wide) == "[1, 3, 2, 0]");
  BOOST_TEST(evaluated([](const Expr& e) { return argsort(e, 0, true); }, wide) == "[0, 2, 3, 1]");
}

BOOST_AUTO_TEST_CASE(the_gradient_goes_back_to_where_an_element_came_from) {
  const Expr x = input("x", {4}, DType::f64);
  const Expr weights = constant(tensor({10.0, 20.0, 30.0, 40.0}, {4}));
  const Feeds feeds = {{x, tensor({2.0, 1.0, 2.0, 0.0}, {4})}};
  BOOST_TEST(to_string(evaluate(grad(sum(sort(x) * weights), {x})[0], feeds)) ==
             "[30, 20, 40, 10]");
  BOOST_TEST(to_string(evaluate(grad(sum(topk(x, 2).values), {x})[0], feeds)) == "[1, 0, 1, 0]");
}

BOOST_AUTO_TEST_CASE(running_sums_keep_signs_of_zero_and_carry_nan_onwards) {
  const Expr x = input("x", {4}, DType::f64);
  const Tensor y = evaluate(cumsum(x), {{x, tensor({-0.0, -0.0, 0.0, -0.0}, {4})}});
  BOOST_TEST(std::signbit(y.at(1)));
  BOOST_TEST(!std::signbit(y.at(2)));
  const Tensor z = evaluate(cumsum(x), {{x, tensor({1.0, inf, -inf, 5.0}, {4})}});
  BOOST_TEST(z.at(0) == 1);
  BOOST_TEST(z.at(1) == inf);
  BOOST_TEST(std::isnan(z.at(2)));
  BOOST_TEST(std::isnan(z.at(3)));
}

BOOST_AUTO_TEST_CASE(running_sums_of_integers_are_i64) {
  const Expr x = input("x", {3}, DType::i32);
  const Tensor y = evaluate(cumsum(x), {{x, tensor({2147483647, 2147483647, -1}, {3})}});
  BOOST_TEST((y.dtype() == DType::i64));
  BOOST_TEST(y.at(2) == 4294967293.0);
}

BOOST_AUTO_TEST_CASE(two_byte_numbers_are_sorted_and_added_as_f32) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    const Tensor x = tensor({1.0, not_a_number, -2.0, 0.5, inf}, {5}).astype(dtype);
    BOOST_TEST(evaluated([](const Expr& e) { return argsort(e); }, x) == "[2, 3, 0, 4, 1]");
    // Each sum of ones fits; in two bytes a running sum would stop at 256 or 2048.
    const Expr v = input("v", {4096}, dtype);
    const Tensor y = evaluate(cumsum(v), {{v, ones({4096}, dtype)}});
    BOOST_TEST((y.dtype() == dtype));
    BOOST_TEST(y.at(4095) == 4096);
    const Expr added =
        scatter_add(constant(zeros({1}, dtype)), constant(zeros({4096}, DType::i32)), v);
    BOOST_TEST(evaluate(added, {{v, ones({4096}, dtype)}}).at(0) == 4096);
    const Tensor g = evaluate(
        grad(sum(astype(take(v, constant(zeros({4096}, DType::i32))), DType::f32)), {v})[0],
        {{v, ones({4096}, dtype)}});
    BOOST_TEST(g.at(0) == 4096);
  }
}

BOOST_AUTO_TEST_CASE(a_running_sum_in_f32_does_not_stop_growing) {
  const std::int64_t n = (std::int64_t{1} << 24) + 1024;
  const Expr x = input("x", {n});
  BOOST_TEST(evaluate(cumsum(x), {{x, ones({n})}}).at(n - 1) == static_cast<double>(n));
}

BOOST_AUTO_TEST_CASE(misuse_is_named) {
  const Expr x = input("x", {2, 3}), s = input("s", {});
  check_refusal([&] { sort(x, 2); }, "sort", "axis 2 is outside [-2, 2) for shape [2, 3]");
  check_refusal([&] { argsort(x > 0); }, "argsort", "wants numbers, got bool");
  check_refusal([&] { cumsum(x > 0); }, "cumsum", "wants numbers, got bool");
  check_refusal([&] { cumsum(x, -3); }, "cumsum", "axis -3 is outside [-2, 2) for shape [2, 3]");
  check_refusal([&] { topk(x, 4); }, "topk", "k must lie in [0, 3] for shape [2, 3], got 4");
  check_refusal([&] { topk(x, -1); }, "topk", "k must lie in [0, 3] for shape [2, 3], got -1");
  check_refusal([&] { topk(s, 1); }, "topk", "wants at least one axis, got a scalar");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace order_cases
