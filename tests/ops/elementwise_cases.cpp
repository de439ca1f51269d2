// Elementwise ops: every row of the table, broadcasting, and rules that special values alone show;
// tables of those are in special_values_test.cpp.
#include "blockgrad/ops/elementwise.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/graph/view.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/op_check.h"

using namespace blockgrad;
using namespace op_check;

namespace {

const std::vector<std::vector<Shape>> unary_shapes = {{{}},  {{5}}, {{2, 3}},
                                                      {{1}}, {{0}}, {{3, 1, 2}}};
const std::vector<std::vector<Shape>> binary_shapes = {
    {{}, {}},         {{3}, {}},           {{}, {2, 2}}, {{2, 3}, {2, 3}}, {{2, 3}, {3}},
    {{2, 1}, {1, 3}}, {{4, 1, 2}, {3, 1}}, {{1}, {1}},   {{0}, {1}},       {{2, 0}, {2, 1}}};

struct Unary {
  const char* name;
  Expr (*op)(Arg);
  double (*reference)(double);
  double low = -2, high = 2;
  std::vector<double> kinks = {};
};

double tanh_share(double x) {
  return 0.5 + 0.5 * std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x));
}
double slope_of_gelu(double x) {
  const double density = std::exp(-0.5 * x * x) / std::sqrt(2 * std::acos(-1.0));
  return 0.5 * std::erfc(-x / std::sqrt(2.0)) + x * density;
}
double sign_of(double x) { return x > 0 ? 1 : x < 0 ? -1 : 0; }

const std::vector<double> integers = {-5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5};
const std::vector<double> halves = {-4.5, -3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 4.5};

const Unary unary_rows[] = {
    {"negative", negative, [](double x) { return -x; }},
    {"abs", abs, [](double x) { return std::abs(x); }, -2, 2, {0}},
    {"sign", sign, sign_of, -2, 2, {0}},
    {"square", square, [](double x) { return x * x; }},
    {"reciprocal", reciprocal, [](double x) { return 1 / x; }, 0.5, 3},
    {"exp", exp, [](double x) { return std::exp(x); }},
    {"expm1", expm1, [](double x) { return std::expm1(x); }},
    {"log", log, [](double x) { return std::log(x); }, 0.3, 4},
    {"log1p", log1p, [](double x) { return std::log1p(x); }, -0.6, 3},
    {"sqrt", sqrt, [](double x) { return std::sqrt(x); }, 0.3, 4},
    {"rsqrt", rsqrt, [](double x) { return 1 / std::sqrt(x); }, 0.3, 4},
    {"sin", sin, [](double x) { return std::sin(x); }, -7, 7},
    {"cos", cos, [](double x) { return std::cos(x); }, -7, 7},
    {"tanh", tanh, [](double x) { return std::tanh(x); }},
    {"erf", erf, [](double x) { return std::erf(x); }},
    {"normal_cdf", normal_cdf, [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }, -3,
     3},
    {"normal_cdf_tanh", normal_cdf_tanh, tanh_share, -3, 3},
    {"gelu_value", gelu_value, [](double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); },
     -3, 3},
    {"gelu_slope", gelu_slope, slope_of_gelu, -3, 3},
    {"sigmoid", sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }, -6, 6},
    {"softplus", softplus, [](double x) { return std::log1p(std::exp(x)); }, -6, 6},
    {"floor", floor, [](double x) { return std::floor(x); }, -5, 5, integers},
    {"ceil", ceil, [](double x) { return std::ceil(x); }, -5, 5, integers},
    {"round", round, [](double x) { return std::nearbyint(x); }, -5, 5, halves},
    {"relu", relu, [](double x) { return x > 0 ? x : 0; }, -2, 2, {0}},
    {"flush_subnormal", flush_subnormal, [](double x) { return x; }},
};

struct Binary {
  const char* name;
  Expr (*op)(Arg, Arg);
  double (*reference)(double, double);
  double low = -2, high = 2;
  bool has_gradient = true;
  bool takes_integers = true;
  bool has_ties = false;
};

const Binary binary_rows[] = {
    {"add", add, [](double a, double b) { return a + b; }},
    {"subtract", subtract, [](double a, double b) { return a - b; }},
    {"multiply", multiply, [](double a, double b) { return a * b; }},
    {"divide", divide, [](double a, double b) { return a / b; }, 0.5, 3, true, false},
    {"maximum", maximum, [](double a, double b) { return std::max(a, b); }, -2, 2, true, true,
     true},
    {"minimum", minimum, [](double a, double b) { return std::min(a, b); }, -2, 2, true, true,
     true},
    {"equal", equal, [](double a, double b) { return double(a == b); }, -2, 2, false},
    {"not_equal", not_equal, [](double a, double b) { return double(a != b); }, -2, 2, false},
    {"less", less, [](double a, double b) { return double(a < b); }, -2, 2, false},
    {"less_equal", less_equal, [](double a, double b) { return double(a <= b); }, -2, 2, false},
    {"greater", greater, [](double a, double b) { return double(a > b); }, -2, 2, false},
    {"greater_equal", greater_equal, [](double a, double b) { return double(a >= b); }, -2, 2,
     false},
};

std::vector<OpCase> rows() {
  std::vector<OpCase> all;
  for (const Unary& u : unary_rows) {
    OpCase row{u.name,
               unary_shapes,
               [u](auto x) { return u.op(x[0]); },
               [u](auto x) { return pointwise(x, [u](auto v) { return u.reference(v[0]); }); },
               u.low,
               u.high};
    if (!u.kinks.empty()) row.near_kink = kinks_at(u.kinks);
    all.push_back(std::move(row));
  }
  for (const Binary& b : binary_rows) {
    OpCase row{
        b.name,
        binary_shapes,
        [b](auto x) { return b.op(x[0], x[1]); },
        [b](auto x) { return pointwise(x, [b](auto v) { return b.reference(v[0], v[1]); }); },
        b.low,
        b.high,
        b.has_gradient,
        b.takes_integers};
    if (b.has_ties) row.near_kink = ties_between();
    all.push_back(std::move(row));
  }
  all.push_back(
      {"fma",
       {{{}, {}, {}}, {{2, 3}, {3}, {}}, {{4}, {4}, {4}}, {{0}, {0}, {1}}, {{1}, {2, 1}, {1, 3}}},
       [](auto x) { return fma(x[0], x[1], x[2]); },
       [](auto x) { return pointwise(x, [](auto v) { return std::fma(v[0], v[1], v[2]); }); }});
  all.push_back(
      {"where_of_a_comparison",
       {{{}, {}, {}}, {{2, 3}, {3}, {2, 1}}, {{4}, {4}, {4}}, {{0}, {0}, {0}}},
       [](auto x) { return where(x[0] > 0.0, x[1], x[2]); },
       [](auto x) { return pointwise(x, [](auto v) { return v[0] > 0 ? v[1] : v[2]; }); }});
  all.back().inputs = {Draw::number().without_gradient(), Draw::number(), Draw::number()};
  all.push_back({"where_with_values_from_the_condition",
                 {{{}, {}}, {{2, 3}, {3}}, {{4}, {4}}, {{1, 0}, {0}}},
                 [](auto x) { return where(x[0] > x[1], x[0] * x[0], x[0] * x[1]); },
                 [](auto x) {
                   return pointwise(x,
                                    [](auto v) { return v[0] > v[1] ? v[0] * v[0] : v[0] * v[1]; });
                 }});
  all.back().near_kink = ties_between();
  all.push_back({"numbers_on_both_sides", unary_shapes,
                 [](auto x) { return 2.0 - 3.0 * x[0] / 4.0 + (1.0 / (x[0] + 5.0)); },
                 [](auto x) {
                   return pointwise(x, [](auto v) { return 2 - 3 * v[0] / 4 + 1 / (v[0] + 5); });
                 }});
  all.push_back({"elementwise_formula_of_the_user", binary_shapes,
                 [](auto x) {
                   static const auto formula = elementwise(
                       [](auto a, auto b) { return a / (1 + exp(-a)) + tanh(a * b) * b; });
                   return formula(x[0], x[1]);
                 },
                 [](auto x) {
                   return pointwise(x, [](auto v) {
                     return v[0] / (1 + std::exp(-v[0])) + std::tanh(v[0] * v[1]) * v[1];
                   });
                 }});
  all.push_back({"formula_that_reads_nothing", unary_shapes,
                 [](auto x) {
                   static const auto four = elementwise([](auto) { return Scalar(4); });
                   return four(x[0]) * x[0] + four(x[0]);
                 },
                 [](auto x) { return pointwise(x, [](auto v) { return 4 * v[0] + 4; }); }});
  all.push_back(
      {"astype_to_the_other_float", unary_shapes,
       [](auto x) { return astype(x[0], x[0].dtype() == DType::f32 ? DType::f64 : DType::f32); },
       [](auto x) {
         return pointwise(x, [](auto v) { return static_cast<double>(static_cast<float>(v[0])); });
       }});
  all.back().has_gradient = false;  // differences need one dtype; there and back has it
  all.push_back(
      {"astype_to_the_other_float_and_back", unary_shapes,
       [](auto x) {
         const DType dtype = x[0].dtype();
         return astype(astype(x[0], dtype == DType::f32 ? DType::f64 : DType::f32), dtype);
       },
       [](auto x) {
         return pointwise(x, [](auto v) { return static_cast<double>(static_cast<float>(v[0])); });
       }});
  all.back().step = 1;  // far above the rounding to f32
  all.push_back(
      {"astype_to_i32_truncates", unary_shapes, [](auto x) { return astype(x[0], DType::i32); },
       [](auto x) { return pointwise(x, [](auto v) { return std::trunc(v[0]); }); }, -9, 9, false});
  all.push_back({"long_chain_of_many_maps",
                 {{{3}, {3}}},
                 [](auto x) {
                   Expr y = x[0];
                   for (int i = 0; i < 200; ++i) y = tanh(y * x[1] + 0.1);
                   return y;
                 },
                 [](auto x) {
                   return pointwise(x, [](auto v) {
                     double y = v[0];
                     for (int i = 0; i < 200; ++i) y = std::tanh(y * v[1] + 0.1);
                     return y;
                   });
                 },
                 0.2,
                 0.9});
  all.push_back({"one_value_read_by_many_maps",
                 {{{2, 3}, {3}}},
                 [](auto x) {
                   Expr y = x[0] * x[1];
                   for (int i = 0; i < 40; ++i)
                     y = y + sin(x[0] * double(i)) * cos(x[1] + double(i));
                   return y;
                 },
                 [](auto x) {
                   return pointwise(x, [](auto v) {
                     double y = v[0] * v[1];
                     for (int i = 0; i < 40; ++i) y += std::sin(v[0] * i) * std::cos(v[1] + i);
                     return y;
                   });
                 },
                 -1,
                 1});
  all.back().tolerance32 = 1e-4;
  return all;
}

const double not_a_number = std::numeric_limits<double>::quiet_NaN();

// y and dy/dx of a function of one number, in f64.
std::pair<double, double> at(Expr (*f)(const Expr&), double x) {
  const Expr v = input("v", {}, DType::f64);
  const Expr y = f(v);
  Program program = compile({y, grad(y, {v})[0]});
  const Results results = program.run({{v, full({}, x, DType::f64)}});
  return {results.number(0), results.number(1)};
}

bool equals(double a, double b) {
  return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(elementwise)

BG_CASES(rows())

BOOST_AUTO_TEST_CASE(the_branch_not_taken_adds_exactly_zero_where_its_slope_is_infinite) {
  static const auto formula =
      blockgrad::elementwise([](auto x) { return where(x > 0, log(x), 0); });
  BOOST_TEST(equals(at([](const Expr& x) { return formula(x); }, 0).second, 0.0));
  BOOST_TEST(equals(at([](const Expr& x) { return formula(x); }, -1).second, 0.0));
  BOOST_TEST(at([](const Expr& x) { return formula(x); }, 2).second == 0.5);
  static const auto root =
      blockgrad::elementwise([](auto x) { return where(x > 0, sqrt(x), 3 * x); });
  BOOST_TEST(at([](const Expr& x) { return root(x); }, 0).second == 3.0);
  // Values are right in either form.
  BOOST_TEST(at([](const Expr& x) { return where(x > 0.0, log(x), 0.0); }, -1).first == 0);
  BOOST_TEST(at([](const Expr& x) { return where(x > 0.0, sqrt(x), x * 3.0); }, 0).first == 0);
}

BOOST_AUTO_TEST_CASE(signed_zeros_survive_every_pass) {
  const Expr x = input("x", {2}, DType::f64);
  const Tensor zeros_of_both_signs = tensor({0.0, -0.0}, {2});
  struct Row {
    const char* name;
    Expr y;
    double first, second;
  };
  const Row table[] = {
      {"x + 0", x + 0.0, 0.0, 0.0},  {"x + -0", x + -0.0, 0.0, -0.0},
      {"x - 0", x - 0.0, 0.0, -0.0}, {"x * 1", x * 1.0, 0.0, -0.0},
      {"x * 0", x * 0.0, 0.0, -0.0}, {"x * -0", x * -0.0, -0.0, 0.0},
      {"x / 1", x / 1.0, 0.0, -0.0}, {"-(-x)", -(-x), 0.0, -0.0},
      {"0 - x", 0.0 - x, 0.0, 0.0},  {"sum of one", sum(reshape(x, Shape{2, 1}), 1), 0.0, -0.0}};
  for (const Row& row : table) {
    for (const bool passes : {true, false}) {
      CompileOptions options;
      if (!passes) options.skip = {"simplify", "merge_equal", "fuse_rows", "fuse_maps"};
      const Tensor y = evaluate(row.y, {{x, zeros_of_both_signs}}, options);
      BOOST_TEST(equals(y.at(0), row.first),
                 row.name << (passes ? "" : " without passes") << " at +0 is " << y.at(0));
      BOOST_TEST(equals(y.at(1), row.second),
                 row.name << (passes ? "" : " without passes") << " at -0 is " << y.at(1));
    }
  }
}

BOOST_AUTO_TEST_CASE(fma_rounds_once) {
  const double a = 1 + 0x1p-30, b = 1 - 0x1p-30, c = -1;
  const Expr x = input("x", {5}, DType::f64);
  for (const char* isa : {"", "portable"}) {
    const Tensor fused = evaluate(fma(x, b, c), {{x, full({5}, a, DType::f64)}}, {.isa = isa});
    const Tensor apart = evaluate(x * b + c, {{x, full({5}, a, DType::f64)}}, {.isa = isa});
    BOOST_TEST(fused.at(4) == std::fma(a, b, c));
    BOOST_TEST(apart.at(4) == 0.0);
  }
}

BOOST_AUTO_TEST_CASE(casts_saturate_and_pass_gradients_between_floats_alone) {
  const Expr x = input("x", {6}, DType::f64);
  const Tensor values = tensor({1e10, -1e10, not_a_number, 2.9, -2.9, 300.0}, {6});
  const Tensor i32 = evaluate(astype(x, DType::i32), {{x, values}});
  const std::int32_t expected[] = {2147483647, -2147483647 - 1, 0, 2, -2, 300};
  BOOST_TEST(i32.span<std::int32_t>() == std::span(expected), boost::test_tools::per_element());
  const Tensor u8 = evaluate(astype(x, DType::u8), {{x, values}});
  const std::uint8_t bytes[] = {255, 0, 0, 2, 0, 255};
  for (int i = 0; i < 6; ++i) BOOST_TEST(u8.at(i) == bytes[i]);
  const Expr narrow = sum(square(astype(x, DType::f32)));
  const Tensor g =
      evaluate(grad(narrow, {x})[0], {{x, tensor({1.0, 2.0, 3.0, -4.0, 0.0, 0.5}, {6})}});
  BOOST_TEST((g.dtype() == DType::f64));
  BOOST_TEST(g.at(3) == -8);
  BOOST_CHECK_THROW(grad(sum(astype(astype(x, DType::i32), DType::f64)), {x}), Error);
}

BOOST_AUTO_TEST_CASE(logic_on_bools_follows_its_tables) {
  const Expr a = input("a", {4}, DType::boolean), b = input("b", {4}, DType::boolean);
  const Tensor x = tensor({false, false, true, true}, {4}),
               y = tensor({false, true, false, true}, {4});
  const auto bits = [&](const Expr& e) {
    const Tensor t = evaluate(e, {{a, x}, {b, y}});
    return 1000 * t.at(0) + 100 * t.at(1) + 10 * t.at(2) + t.at(3);
  };
  BOOST_TEST(bits(logical_and(a, b)) == 1);
  BOOST_TEST(bits(logical_or(a, b)) == 111);
  BOOST_TEST(bits(logical_xor(a, b)) == 110);
  BOOST_TEST(bits(logical_not(a)) == 1100);
  BOOST_TEST(bits(equal(a, b)) == 1001);
}

BOOST_AUTO_TEST_CASE(integers_wrap_around) {
  const Expr x = input("x", {2}, DType::i32);
  const Tensor big = tensor({2147483647, -2147483647 - 1}, {2});
  const Tensor up = evaluate(x + 1.0, {{x, big}});
  BOOST_TEST(up.at(0) == -2147483648.0);
  const Tensor minus = evaluate(-x, {{x, big}});
  BOOST_TEST(minus.at(1) == -2147483648.0);
  const Tensor squared = evaluate(x * x, {{x, big}});
  BOOST_TEST(squared.at(0) == 1);
}

BOOST_AUTO_TEST_SUITE_END()
