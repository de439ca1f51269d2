// What other ops are made of, called as it is: recorded formulas, reductions by kind, casts, sums
// of many values; and gradients as values.
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/graph/map.h"
#include "blockgrad/graph/reduce.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/losses.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/checks.h"
#include "tests/support/op_check.h"
#include "tests/support/variants.h"

using namespace blockgrad;
using op_check::along;
using op_check::Array;
using op_check::Draw;
using op_check::Index;
using op_check::make_array;
using op_check::OpCase;
using op_check::pointwise;

namespace {

const std::vector<std::vector<Shape>> one = {{{}}, {{5}}, {{2, 3}}, {{1}}, {{0}}, {{3, 1, 2}}};

std::vector<OpCase> rows() {
  std::vector<OpCase> all;
  all.push_back(
      {"map_of_a_formula_with_three_arguments",
       {{{}, {}, {}}, {{2, 3}, {3}, {}}, {{4}, {4}, {4}}, {{1}, {3}, {2, 1}}, {{0}, {1}, {}}},
       [](auto x) {
         return map("formula", {x[0], x[1], x[2]},
                    [](std::span<const Scalar> s) { return s[0] * tanh(s[1]) - s[2] * s[2]; });
       },
       [](auto x) {
         return pointwise(x, [](auto v) { return v[0] * std::tanh(v[1]) - v[2] * v[2]; });
       }});
  all.push_back({"reduce_by_sum_of_the_first_and_last_axis",
                 {{{2, 3, 4}}, {{1, 2, 1}}, {{3, 0, 2}}, {{1, 1}}, {{3, 2}}},
                 [](auto x) { return reduce(x[0], ReduceKind::sum, std::vector{0, -1}, true); },
                 [](auto x) {
                   return along(x[0], {0, -1}, true, [](const std::vector<double>& line) {
                     double s = 0;
                     for (const double v : line) s += v;
                     return s;
                   });
                 }});
  all.push_back(
      {"sum_of",
       {{{3}, {3}, {3}}, {{2, 2}, {2, 2}, {2, 2}}, {{}, {}, {}}},
       [](auto x) {
         std::vector<Expr> parts;
         for (int i = 0; i < 20; ++i) parts.push_back(x[static_cast<std::size_t>(i % 3)]);
         return sum_of(parts);
       },
       [](auto x) { return pointwise(x, [](auto v) { return 7 * v[0] + 7 * v[1] + 6 * v[2]; }); },
       -2,
       2,
       true,
       false,
       1e-5});
  all.back().tolerance64 = 1e-12;
  all.push_back({"cast_to_f64_and_back", one,
                 [](auto x) { return cast(cast(x[0], DType::f64), x[0].dtype()); },
                 [](auto x) { return x[0]; }});
  all.push_back({"squeeze_of_the_middle_axis",
                 {{{2, 1, 3}}, {{1, 1, 1}}, {{0, 1, 2}}, {{3, 1, 0}}, {{2, 1, 1}}},
                 [](auto x) { return squeeze(x[0], -2); },
                 [](auto x) { return Array{{x[0].shape[0], x[0].shape[2]}, x[0].values}; }});
  all.back().takes_integers = true;
  all.back().refuses = {{{{2, 3, 4}}, "squeeze (here): axis -2 of [2, 3, 4] is not of size 1"}};
  all.push_back({"grad_of_a_loss",
                 {{{3}, {3}}, {{2, 2}, {2, 2}}, {{}, {}}, {{1}, {1}}, {{1, 3, 1}, {1, 3, 1}}},
                 [](auto x) {
                   const Expr y = tanh(x[0]);
                   return grad(mse_loss(y, x[1]), {y})[0];
                 },
                 [](auto x) {
                   const double n = double(x[0].values.size());
                   return pointwise(x, [=](auto v) { return 2 * (std::tanh(v[0]) - v[1]) / n; });
                 }});
  all.back().tolerance32 = 1e-5;
  all.push_back({"accuracy",
                 {{{4, 3}, {4}}, {{1, 2}, {1}}, {{2, 2, 5}, {2, 2}}, {{3}, {}}},
                 [](auto x) { return mean(accuracy(x[0], x[1])); },
                 [](auto x) {
                   const std::int64_t classes = x[0].shape[x[0].shape.rank() - 1];
                   double hits = 0;
                   for (std::size_t r = 0; r < x[1].values.size(); ++r) {
                     std::int64_t best = 0;
                     const auto at = [&](std::int64_t c) {
                       return x[0].values[r * static_cast<std::size_t>(classes) +
                                          static_cast<std::size_t>(c)];
                     };
                     for (std::int64_t c = 1; c < classes; ++c) best = at(c) > at(best) ? c : best;
                     hits += double(best) == x[1].values[r] ? 1 : 0;
                   }
                   return Array{{}, {hits / double(x[1].values.size())}};
                 }});
  all.back().inputs = {Draw::number().without_gradient(), Draw::index_of(0, -1)};
  all.back().has_gradient = false;
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(primitives)

BG_CASES(rows())

// Alone, gathered, all of a value, beside what spreads them again, and of what rounds.
BOOST_AUTO_TEST_CASE(a_sum_of_two_byte_numbers_is_that_of_them_as_f32) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    std::vector<Expr> half, wide;
    const auto add = [&](const Shape& shape, std::uint32_t axes, bool turns = false) {
      std::vector<double> numbers(static_cast<std::size_t>(shape.size()));
      for (std::size_t i = 0; i < numbers.size(); ++i)
        numbers[i] = 2 + std::sin(0.7 * static_cast<double>(i));
      const Tensor waves = tensor(std::span<const double>(numbers), shape);
      const Expr x = constant(waves.astype(dtype)), y = turns ? transpose(x) : x;
      const Expr made = astype(cos(constant(waves.astype(DType::f32))), dtype);
      for (const Expr& e : {y, made}) {
        const Reduce op{ReduceKind::sum, axes, true};
        const Expr s = make(op, {e}), t = make(op, {astype(e, DType::f32)});
        BOOST_TEST((s.dtype() == DType::f32));
        half.insert(half.end(), {s, astype(e, DType::f32) / s});
        wide.insert(wide.end(), {t, astype(e, DType::f32) / t});
      }
    };
    add({33, 65}, 1);
    add({33, 65}, 2);
    add({65, 33}, 2, true);
    add({3, 4, 5, 6}, 5);
    add({3, 40, 700}, 5);
    add({40000}, 1);
    add({1, 7}, 1);
    add({0, 7}, 1);
    const std::vector<Tensor> expected = op_check::run(wide, {});
    for (const op_check::Variant& variant : op_check::variants())
      BOOST_TEST(test_support::same_bits(op_check::run(half, {}, variant.options), expected),
                 variant.name);
    const Expr x = input("x", {2, 3}, dtype);
    const Expr slope = grad(sum(square(make(Reduce{ReduceKind::sum, 1}, {x}))), {x})[0];
    BOOST_TEST((slope.dtype() == dtype));
    BOOST_TEST(evaluate(slope, {{x, ones({2, 3}, dtype)}}).at(5) == 4);
  }
}

BOOST_AUTO_TEST_SUITE_END()
