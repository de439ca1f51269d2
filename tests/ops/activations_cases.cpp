// Activations against their formulas in double, and their limits at infinity.
#include "blockgrad/ops/activations.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <limits>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/checks.h"
#include "tests/support/op_check.h"

using namespace blockgrad;
using namespace test_support;
using namespace op_check;

namespace {

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }

// Where the quotient is about to step.
bool divided_at_a_step(std::span<const Array> x) {
  const Array quotient = pointwise(x, [](auto v) { return v[0] / v[1]; });
  return std::any_of(quotient.values.begin(), quotient.values.end(),
                     [](double q) { return std::abs(q - std::round(q)) < 1e-3; });
}

std::vector<OpCase> rows() {
  std::vector<OpCase> all;
  const auto one = [&](std::string name, auto op, double (*f)(double)) {
    all.push_back({std::move(name),
                   {{{2, 3}}, {{7}}, {{}}, {{0, 2}}, {{1, 1}}},
                   [op](auto x) { return op(x[0]); },
                   [f](auto x) { return pointwise(x, [f](auto v) { return f(v[0]); }); }});
  };
  one("silu", [](Expr x) { return silu(x); }, [](double x) { return x * sigmoid_of(x); });
  one(
      "gelu", [](Expr x) { return gelu(x); },
      [](double x) { return x * 0.5 * std::erfc(-x / std::sqrt(2.0)); });
  one(
      "gelu_tanh", [](Expr x) { return gelu_tanh(x); },
      [](double x) {
        return 0.5 * x *
               (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
      });
  one(
      "logsigmoid", [](Expr x) { return logsigmoid(x); },
      [](double x) { return -std::log1p(std::exp(-x)); });
  one(
      "leaky_relu", [](Expr x) { return leaky_relu(x, 0.2); },
      [](double x) { return x > 0 ? x : 0.2 * x; });
  one(
      "elu", [](Expr x) { return elu(x, 1.5); },
      [](double x) { return x > 0 ? x : 1.5 * std::expm1(x); });
  one(
      "clip_to_numbers", [](Expr x) { return clip(x, -0.7, 1.1); },
      [](double x) { return std::min(std::max(x, -0.7), 1.1); });
  OpCase tensors{
      "clip_to_tensors",
      {{{4}, {4}, {4}}, {{2, 3}, {3}, {}}, {{1, 3}, {2, 1}, {2, 3}}, {{0}, {0}, {0}}, {{}, {}, {}}},
      [](auto x) { return clip(x[0], x[1], x[2]); },
      [](auto x) {
        return pointwise(x, [](auto v) { return std::min(std::max(v[0], v[1]), v[2]); });
      }};
  all.push_back(std::move(tensors));
  all.push_back(
      {"swiglu",
       {{{4}, {4}}, {{2, 3}, {3}}, {{1, 3}, {2, 1}}, {{0}, {0}}, {{}, {2}}},
       [](auto x) { return swiglu(x[0], x[1]); },
       [](auto x) { return pointwise(x, [](auto v) { return v[0] * v[1] * sigmoid_of(v[1]); }); }});
  OpCase power{"pow",
               {{{4}, {4}}, {{2, 3}, {3}}, {{1, 3}, {2, 1}}, {{0}, {0}}, {{}, {2}}},
               [](auto x) { return pow(x[0], x[1]); },
               [](auto x) { return pointwise(x, [](auto v) { return std::pow(v[0], v[1]); }); }};
  power.low = 0.3;
  all.push_back(std::move(power));
  one("pow_with_a_number", [](Expr x) { return pow(x, 3.0); }, [](double x) { return x * x * x; });
  one("pow_2_is_a_square", [](Expr x) { return pow(x, 2.0); }, [](double x) { return x * x; });
  OpCase divided{
      "floor_divide",
      {{{4}, {4}}, {{2, 3}, {3}}, {{1, 3}, {2, 1}}, {{0}, {0}}, {{}, {2}}},
      [](auto x) { return floor_divide(x[0], x[1]); },
      [](auto x) { return pointwise(x, [](auto v) { return std::floor(v[0] / v[1]); }); }};
  divided.near_kink = divided_at_a_step;
  divided.takes_integers = true;
  divided.low = 0.5, divided.high = 9;
  all.push_back(std::move(divided));
  OpCase rest{"remainder",
              {{{4}, {4}}, {{2, 3}, {3}}, {{1, 3}, {2, 1}}, {{0}, {0}}, {{}, {2}}},
              [](auto x) { return remainder(x[0], x[1]); },
              [](auto x) {
                return pointwise(x, [](auto v) { return v[0] - v[1] * std::floor(v[0] / v[1]); });
              }};
  rest.takes_integers = true;
  rest.near_kink = divided_at_a_step;
  rest.low = 0.5, rest.high = 9;
  rest.tolerance32 = 1e-5;
  all.push_back(std::move(rest));
  return all;
}

/// The value and slope of a function at a point.
std::pair<double, double> at(const std::function<Expr(Expr)>& f, double x) {
  const Expr e = input("x", {}, DType::f64);
  const Expr y = f(e);
  Program program = compile({y, grad(y, {e})[0]});
  const Results results = program.run({{e, full({}, x, DType::f64)}});
  return {results.number(0), results.number(1)};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(activations)

BG_CASES(rows())

BOOST_AUTO_TEST_CASE(limits_at_infinity_are_written_out) {
  const double inf = std::numeric_limits<double>::infinity();
  struct Row {
    const char* name;
    std::function<Expr(Expr)> f;
    double low, slope_low, high, slope_high;
  };
  const Row table[] = {
      {"silu", [](Expr x) { return silu(x); }, 0, 0, inf, 1},
      {"gelu", [](Expr x) { return gelu(x); }, 0, 0, inf, 1},
      {"gelu_tanh", [](Expr x) { return gelu_tanh(x); }, 0, 0, inf, 1},
      {"logsigmoid", [](Expr x) { return logsigmoid(x); }, -inf, 1, 0, 0},
      {"elu", [](Expr x) { return elu(x); }, -1, 0, inf, 1},
      {"leaky_relu", [](Expr x) { return leaky_relu(x, 0.5); }, -inf, 0.5, inf, 1},
      {"clip", [](Expr x) { return clip(x, -2, 3); }, -2, 0, 3, 0},
  };
  for (const Row& row : table) {
    const auto [low, slope_low] = at(row.f, -inf);
    const auto [high, slope_high] = at(row.f, inf);
    BOOST_TEST(low == row.low, row.name);
    BOOST_TEST(slope_low == row.slope_low, row.name);
    BOOST_TEST(high == row.high, row.name);
    BOOST_TEST(slope_high == row.slope_high, row.name);
    BOOST_TEST(std::isnan(at(row.f, std::nan("")).first), row.name);
  }
}

BOOST_AUTO_TEST_CASE(slopes_of_slopes_vanish_far_away) {
  const double inf = std::numeric_limits<double>::infinity();
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const auto& f : {&silu, &gelu, &gelu_tanh}) {
      const Expr x = input("x", {5}, dtype);
      const Expr slope = grad(sum((*f)(x)), {x})[0], second = grad(sum(slope), {x})[0];
      const Tensor far = tensor({-inf, -1e20, 1e20, inf, std::nan("")}, {5}).astype(dtype);
      const Tensor values = evaluate(second, {{x, far}});
      for (int i = 0; i < 4; ++i) BOOST_TEST(values.at(i) == 0);
      BOOST_TEST(std::isnan(values.at(4)));
    }
  }
}

BOOST_AUTO_TEST_CASE(smooth_curves_keep_the_sign_of_zero_and_rise_by_one_half,
                     *boost::unit_test::tolerance(1e-15)) {
  struct Row {
    Expr (*f)(Arg);
    double second;
  };
  const double twice_density = 0.79788456080286536;  // 2 / sqrt(2 pi)
  for (const Row& row :
       {Row{&silu, 0.5}, Row{&gelu, twice_density}, Row{&gelu_tanh, twice_density}}) {
    const Expr x = input("x", {}, DType::f64);
    const Expr y = row.f(x), slope = grad(y, {x})[0];
    Program program = compile({y, slope, grad(slope, {x})[0]});
    for (const double zero : {0.0, -0.0}) {
      const Results results = program.run({{x, full({}, zero, DType::f64)}});
      BOOST_TEST(results.number(0) == 0);
      BOOST_TEST(std::signbit(results.number(0)) == std::signbit(zero));
      BOOST_TEST(results.number(1) == 0.5);
      BOOST_TEST(results.number(2) == row.second);
    }
  }
}

BOOST_AUTO_TEST_CASE(gradients_in_half_precision_are_rounded_once) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    for (const auto f : {gelu, gelu_tanh}) {
      const Tensor x = tensor({-1.75, -0.5, 0.375, 1.5, 2.25}, {5}).astype(dtype);
      const Tensor dy = tensor({3.0, -0.625, 1.125, -2.5, 0.75}, {5}).astype(dtype);
      const auto gradient = [&](DType type) {
        const Expr at = input("x", {5}, type);
        const Expr g = grad(sum(f(at) * constant(dy.astype(type))), {at})[0];
        return evaluate(g, {{at, x.astype(type)}});
      };
      const Tensor exact = gradient(DType::f64).astype(dtype), got = gradient(dtype);
      for (int i = 0; i < 5; ++i) BOOST_TEST(got.at(i) == exact.at(i));
    }
  }
}

BOOST_AUTO_TEST_CASE(kinks_have_their_stated_slopes) {
  BOOST_TEST(at([](Expr x) { return clip(x, -2, 3); }, 3).second == 1);
  BOOST_TEST(at([](Expr x) { return clip(x, -2, 3); }, -2).second == 1);
  BOOST_TEST(at([](Expr x) { return leaky_relu(x, 0.25); }, 0).second == 0.25);
  BOOST_TEST(at([](Expr x) { return elu(x, 2); }, 0).second == 2);
  BOOST_TEST(at([](Expr x) { return clip(x, 5, 3); }, 4).first == 3);
  BOOST_TEST(at([](Expr x) { return clip(x, 5, 3); }, 2).first == 3);
  BOOST_TEST(at([](Expr x) { return pow(x, 0.0); }, 0).second == 0);
}

BOOST_AUTO_TEST_CASE(pow_sends_nothing_where_the_power_of_zero_is_flat) {
  const Expr a = input("a", {3}, DType::f64), b = input("b", {3}, DType::f64);
  const auto g = grad(sum(pow(a, b)), {a, b});
  Program program = compile({g[0], g[1]});
  const Results results =
      program.run({{a, tensor({0.0, 0.0, 2.0}, {3})}, {b, tensor({2.0, 0.0, 3.0}, {3})}});
  BOOST_TEST(results.tensor(0).at(0) == 0);
  BOOST_TEST(results.tensor(0).at(1) == 0);
  BOOST_TEST(results.tensor(1).at(0) == 0);
  BOOST_TEST(results.tensor(1).at(1) == 0);
  BOOST_TEST(results.tensor(1).at(2) == 8 * std::log(2.0), boost::test_tools::tolerance(1e-15));
}

BOOST_AUTO_TEST_CASE(an_integer_divisor_of_0_is_named_with_op_line_and_position) {
  const std::vector<std::pair<std::string, std::function<Expr(const Expr&, const Expr&)>>> ops = {
      {"floor_divide", [](const Expr& a, const Expr& b) { return floor_divide(a, b); }},
      {"remainder", [](const Expr& a, const Expr& b) { return remainder(a, b); }}};
  const int line = __LINE__ - 2;
  for (std::size_t k = 0; k < ops.size(); ++k) {
    const auto& [name, op] = ops[k];
    const std::string start =
        name + " (activations_cases.cpp:" + std::to_string(line + static_cast<int>(k)) +
        "): divisor 0 at ";
    for (const DType dtype : {DType::i32, DType::i64, DType::u8}) {
      const Expr a = input("a", {2, 2}, dtype), b = input("b", {4}, dtype);
      const Expr w = parameter(ones({}), "w");
      Program flat = compile({op(reshape(a, Shape{4}), b)}, Updates().set(w, w + 1.0));
      const Tensor x = tensor({7.0, 8.0, 9.0, 10.0}, {2, 2}).astype(dtype);
      const auto run = [&](const Tensor& divisors) {
        return flat.run({{a, x}, {b, divisors.astype(dtype)}}).tensor(0);
      };
      BOOST_TEST(error_of([&] { run(tensor({1.0, 2.0, 3.0, 0.0}, {4})); }) ==
                 start + "position 3 is not allowed; step 0 of this run updated nothing");
      BOOST_TEST(w.value().at(0) == 1);
      const Tensor y = run(tensor({1.0, 2.0, 4.0, 3.0}, {4}));
      BOOST_TEST(y.at(3) == (name == "remainder" ? 1 : 3));
      BOOST_TEST(w.value().at(0) == 2);
      BOOST_TEST(error_of([&] {
                   evaluate(op(a, a), {{a, tensor({1.0, 2.0, 0.0, 0.0}, {2, 2}).astype(dtype)}});
                 }) ==
                 start + "position [1, 0] is not allowed; step 0 of this run updated nothing");
    }
  }
  const Expr n = input("n", {}, DType::i32), x = input("x", {});
  BOOST_TEST(evaluate(remainder(7.0, n), {{n, full({}, 4, DType::i32)}}).at(0) == 3);
  BOOST_CHECK_THROW(evaluate(remainder(7.0, n), {{n, zeros({}, DType::i32)}}), Error);
  BOOST_TEST(std::isinf(evaluate(floor_divide(x, 0.0), {{x, ones({})}}).at(0)));
}

BOOST_AUTO_TEST_SUITE_END()
