// Special values against a written table: NaN, infinities, both zeros, the smallest denormal and
// the largest number, and ties; value and gradient of every row of scalar.def, in both working
// types, with all passes and with none. Gradients are those of d = 1.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <set>

#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/special_values.h"
#include "tests/support/variants.h"

using namespace blockgrad;
using namespace op_check;

namespace {

struct Point {
  double x, y, slope;
};
struct UnaryRow {
  const char* name;
  Expr (*op)(Arg);
  std::vector<Point> points;
};

// clang-format off: tables

// Where a value of zero has a sign that matters it is compared with its sign; slopes never are.
std::vector<UnaryRow> unary_table(const Limits& t) {
  const double inf = t.inf, nan = t.nan, max = t.max, tiny = t.tiny;
  const double log_max = std::log(max), log_tiny = std::log(tiny);
  const double root = std::sqrt(tiny), big_root = std::sqrt(max);
  return {
      {"negative", negative,
       {{nan, nan, -1}, {-inf, inf, -1}, {-max, max, -1}, {-tiny, tiny, -1}, {-0.0, 0.0, -1},
        {0.0, -0.0, -1}, {tiny, -tiny, -1}, {max, -max, -1}, {inf, -inf, -1}}},
      {"abs", abs,
       {{nan, nan, nan}, {-inf, inf, -1}, {-max, max, -1}, {-tiny, tiny, -1}, {-0.0, 0.0, 0},
        {0.0, 0.0, 0}, {tiny, tiny, 1}, {max, max, 1}, {inf, inf, 1}}},
      {"sign", sign,
       {{nan, nan, 0}, {-inf, -1, 0}, {-max, -1, 0}, {-tiny, -1, 0}, {0.0, 0, 0}, {tiny, 1, 0},
        {max, 1, 0}, {inf, 1, 0}}},
      {"square", square,
       {{nan, nan, nan}, {-inf, inf, -inf}, {-max, inf, -inf}, {-tiny, 0.0, -2 * tiny},
        {-0.0, 0.0, 0}, {0.0, 0.0, 0}, {tiny, 0.0, 2 * tiny}, {max, inf, inf}, {inf, inf, inf}}},
      {"reciprocal", reciprocal,
       {{nan, nan, nan}, {-inf, -0.0, 0}, {-max, -1 / max, 0}, {-tiny, -inf, -inf},
        {-0.0, -inf, -inf}, {0.0, inf, -inf}, {tiny, inf, -inf}, {max, 1 / max, 0},
        {inf, 0.0, 0}}},
      {"exp", exp,
       {{nan, nan, nan}, {-inf, 0.0, 0}, {-max, 0.0, 0}, {-tiny, 1, 1}, {-0.0, 1, 1}, {0.0, 1, 1},
        {tiny, 1, 1}, {max, inf, inf}, {inf, inf, inf}}},
      {"expm1", expm1,
       {{nan, nan, nan}, {-inf, -1, 0}, {-max, -1, 0}, {-tiny, -tiny, 1}, {-0.0, -0.0, 1},
        {0.0, 0.0, 1}, {tiny, tiny, 1}, {max, inf, inf}, {inf, inf, inf}}},
      {"log", log,
       {{nan, nan, nan}, {-inf, nan, 0}, {-1, nan, -1}, {-0.0, -inf, -inf}, {0.0, -inf, inf},
        {tiny, log_tiny, inf}, {1, 0.0, 1}, {max, log_max, 1 / max}, {inf, inf, 0}}},
      {"log1p", log1p,
       {{nan, nan, nan}, {-inf, nan, 0}, {-2, nan, -1}, {-1, -inf, inf}, {-tiny, -tiny, 1},
        {-0.0, -0.0, 1}, {0.0, 0.0, 1}, {tiny, tiny, 1}, {max, log_max, 1 / max}, {inf, inf, 0}}},
      {"sqrt", sqrt,
       {{nan, nan, nan}, {-inf, nan, nan}, {-max, nan, nan}, {-tiny, nan, nan}, {-0.0, -0.0, -inf},
        {0.0, 0.0, inf}, {tiny, root, 0.5 / root}, {max, big_root, 0.5 / big_root},
        {inf, inf, 0}}},
      {"rsqrt", rsqrt,
       {{nan, nan, nan}, {-inf, nan, nan}, {-max, nan, nan}, {-tiny, nan, nan}, {-0.0, -inf, -inf},
        {0.0, inf, -inf}, {tiny, 1 / root, -inf}, {max, 1 / big_root, 0}, {inf, 0.0, 0}}},
      {"sin", sin,
       {{nan, nan, nan}, {-inf, nan, nan}, {-tiny, -tiny, 1}, {-0.0, -0.0, 1}, {0.0, 0.0, 1},
        {tiny, tiny, 1}, {1e4, std::sin(1e4), std::cos(1e4)}, {inf, nan, nan}}},
      {"cos", cos,
       {{nan, nan, nan}, {-inf, nan, nan}, {-tiny, 1, tiny}, {-0.0, 1, 0}, {0.0, 1, 0},
        {tiny, 1, -tiny}, {1e4, std::cos(1e4), -std::sin(1e4)}, {inf, nan, nan}}},
      {"tanh", tanh,
       {{nan, nan, nan}, {-inf, -1, 0}, {-max, -1, 0}, {-tiny, -tiny, 1}, {-0.0, -0.0, 1},
        {0.0, 0.0, 1}, {tiny, tiny, 1}, {max, 1, 0}, {inf, 1, 0}}},
      {"erf", erf,
       {{nan, nan, nan}, {-inf, -1, 0}, {-max, -1, 0}, {-tiny, -tiny, 1.1283791670955126},
        {-0.0, -0.0, 1.1283791670955126}, {0.0, 0.0, 1.1283791670955126},
        {tiny, tiny, 1.1283791670955126}, {max, 1, 0}, {inf, 1, 0}}},
      {"normal_cdf", normal_cdf,
       {{nan, nan, nan}, {-inf, 0.0, 0}, {-max, 0.0, 0}, {-tiny, 0.5, 0.3989422804014327},
        {-0.0, 0.5, 0.3989422804014327}, {0.0, 0.5, 0.3989422804014327},
        {tiny, 0.5, 0.3989422804014327}, {max, 1, 0}, {inf, 1, 0}}},
      {"normal_cdf_tanh", normal_cdf_tanh,
       {{nan, nan, nan}, {-inf, 0.0, 0}, {-max, 0.0, 0}, {-tiny, 0.5, 0.3989422804014327},
        {-0.0, 0.5, 0.3989422804014327}, {0.0, 0.5, 0.3989422804014327},
        {tiny, 0.5, 0.3989422804014327}, {max, 1, 0}, {inf, 1, 0}}},
      {"gelu_value", gelu_value,
       {{nan, nan, nan}, {-inf, -0.0, 0}, {-max, -0.0, 0}, {-tiny, -0.0, 0.5}, {-0.0, -0.0, 0.5},
        {0.0, 0.0, 0.5}, {tiny, 0.0, 0.5}, {max, max, 1}, {inf, inf, 1}}},
      {"gelu_slope", gelu_slope,
       {{nan, nan, nan}, {-inf, 0.0, 0}, {-max, 0.0, 0}, {-tiny, 0.5, 0.7978845608028654},
        {-0.0, 0.5, 0.7978845608028654}, {0.0, 0.5, 0.7978845608028654},
        {tiny, 0.5, 0.7978845608028654}, {max, 1, 0}, {inf, 1, 0}}},
      {"sigmoid", sigmoid,
       {{nan, nan, nan}, {-inf, 0.0, 0}, {-max, 0.0, 0}, {-tiny, 0.5, 0.25}, {-0.0, 0.5, 0.25},
        {0.0, 0.5, 0.25}, {tiny, 0.5, 0.25}, {max, 1, 0}, {inf, 1, 0}}},
      {"softplus", softplus,
       {{nan, nan, nan}, {-inf, 0.0, 0}, {-max, 0.0, 0}, {-tiny, std::log(2), 0.5},
        {-0.0, std::log(2), 0.5}, {0.0, std::log(2), 0.5}, {tiny, std::log(2), 0.5}, {max, max, 1},
        {inf, inf, 1}}},
      {"floor", floor,
       {{nan, nan, 0}, {-inf, -inf, 0}, {-max, -max, 0}, {-tiny, -1, 0}, {-0.0, -0.0, 0},
        {0.0, 0.0, 0}, {tiny, 0.0, 0}, {max, max, 0}, {inf, inf, 0}}},
      {"ceil", ceil,
       {{nan, nan, 0}, {-inf, -inf, 0}, {-max, -max, 0}, {-tiny, -0.0, 0}, {-0.0, -0.0, 0},
        {0.0, 0.0, 0}, {tiny, 1, 0}, {max, max, 0}, {inf, inf, 0}}},
      {"round", round,
       {{nan, nan, 0}, {-inf, -inf, 0}, {-max, -max, 0}, {-tiny, -0.0, 0}, {-0.0, -0.0, 0},
        {0.0, 0.0, 0}, {tiny, 0.0, 0}, {0.5, 0.0, 0}, {1.5, 2, 0}, {2.5, 2, 0}, {max, max, 0},
        {inf, inf, 0}}},
      {"relu", relu,
       {{nan, nan, 0}, {-inf, 0.0, 0}, {-max, 0.0, 0}, {-tiny, 0.0, 0}, {-0.0, 0.0, 0},
        {0.0, 0.0, 0}, {tiny, tiny, 1}, {max, max, 1}, {inf, inf, 1}}},
      {"flush_subnormal", flush_subnormal,
       {{nan, nan, 1}, {-inf, -inf, 1}, {-max, -max, 1}, {-tiny, 0.0, 1}, {-0.0, 0.0, 1},
        {0.0, 0.0, 1}, {tiny, 0.0, 1}, {max, max, 1}, {inf, inf, 1}}},
  };
}

struct Pair {
  double a, b, y, to_a, to_b;
};
struct BinaryRow {
  const char* name;
  Expr (*op)(Arg, Arg);
  std::vector<Pair> pairs;
};

std::vector<BinaryRow> binary_table(const Limits& t) {
  const double inf = t.inf, nan = t.nan, max = t.max, tiny = t.tiny;
  return {
      {"add", add,
       {{nan, 1, nan, 1, 1}, {inf, -inf, nan, 1, 1}, {inf, inf, inf, 1, 1}, {max, max, inf, 1, 1},
        {-0.0, -0.0, -0.0, 1, 1}, {-0.0, 0.0, 0.0, 1, 1}, {tiny, -tiny, 0.0, 1, 1},
        {tiny, tiny, 2 * tiny, 1, 1}}},
      {"subtract", subtract,
       {{nan, 1, nan, 1, -1}, {inf, inf, nan, 1, -1}, {inf, -inf, inf, 1, -1},
        {-max, max, -inf, 1, -1}, {0.0, 0.0, 0.0, 1, -1}, {-0.0, 0.0, -0.0, 1, -1},
        {tiny, tiny, 0.0, 1, -1}}},
      {"multiply", multiply,
       {{nan, 0, nan, 0, nan}, {0.0, inf, nan, inf, 0}, {-inf, 2, -inf, 2, -inf},
        {max, 2, inf, 2, max}, {-0.0, 1, -0.0, 1, 0}, {-0.0, -0.0, 0.0, 0, 0},
        {tiny, 0.5, 0.0, 0.5, tiny}, {tiny, 2, 2 * tiny, 2, tiny}}},
      {"divide", divide,
       {{nan, 1, nan, 1, nan}, {1, nan, nan, nan, nan}, {1, 0.0, inf, inf, -inf},
        {1, -0.0, -inf, -inf, -inf}, {0.0, 0.0, nan, inf, nan}, {inf, inf, nan, 0, nan},
        {1, inf, 0.0, 0, 0}, {-1, inf, -0.0, 0, 0}, {max, 0.5, inf, 2, -inf},
        {tiny, tiny, 1, inf, -inf}}},
      {"maximum", maximum,
       {{nan, 1, nan, 1, 0}, {1, nan, nan, 0, 1}, {nan, nan, nan, 0.5, 0.5}, {2, 2, 2, 0.5, 0.5},
        {inf, inf, inf, 0.5, 0.5}, {-inf, inf, inf, 0, 1}, {max, inf, inf, 0, 1},
        {tiny, 0.0, tiny, 1, 0}, {-max, -inf, -max, 1, 0}}},
      {"minimum", minimum,
       {{nan, 1, nan, 1, 0}, {1, nan, nan, 0, 1}, {nan, nan, nan, 0.5, 0.5}, {2, 2, 2, 0.5, 0.5},
        {-inf, -inf, -inf, 0.5, 0.5}, {-inf, inf, -inf, 1, 0}, {max, inf, max, 1, 0},
        {-tiny, 0.0, -tiny, 1, 0}}},
      {"pow", pow,
       {{nan, 0.0, 1, 0, nan}, {nan, 2, nan, nan, nan}, {2, nan, nan, nan, nan},
        {0.0, 2, 0.0, 0, 0}, {0.0, 0.0, 1, 0, 0}, {0.0, 1, 0.0, 1, 0}, {0.0, -1, inf, -inf, -inf},
        {-2, 3, -8, 12, nan}, {-2, 0.5, nan, nan, nan}, {inf, 2, inf, inf, inf},
        {inf, -1, 0.0, 0, nan}, {2, inf, inf, inf, inf}, {2, -inf, 0.0, nan, 0},
        {1, 5, 1, 5, 0}, {max, 2, inf, inf, inf}}},
      {"floor_divide", floor_divide,
       {{nan, 1, nan, 0, 0}, {1, 0.0, inf, 0, 0}, {-1, 0.0, -inf, 0, 0}, {0.0, 0.0, nan, 0, 0},
        {7, -2, -4, 0, 0}, {-7, 2, -4, 0, 0}, {1, inf, 0.0, 0, 0}, {-tiny, 1, -1, 0, 0}}},
      {"remainder", remainder,
       {{nan, 1, nan, 1, nan}, {1, nan, nan, 1, nan}, {7, -2, -1, 1, 4}, {-7, 2, 1, 1, 4},
        {7, 2, 1, 1, -3}, {-7, -2, -1, 1, -3}, {inf, 2, nan, 1, -inf}}},
  };
}

// clang-format on

struct Compared {
  const char* name;
  Expr (*op)(Arg, Arg);
  bool on_nan, on_equal, on_zeros, on_less,
      on_infinities;  // (NaN, 1), (2, 2), (-0, 0), (1, 2), (inf, inf)
};
const Compared compared_table[] = {
    {"equal", equal, false, true, true, false, true},
    {"not_equal", not_equal, true, false, false, true, false},
    {"less", less, false, false, false, true, false},
    {"less_equal", less_equal, false, true, true, true, true},
    {"greater", greater, false, false, false, false, false},
    {"greater_equal", greater_equal, false, true, true, false, true}};

struct Predicate {
  const char* name;
  Expr (*op)(Arg);
  bool on_nan, on_infinity, on_max, on_tiny, on_zero;
};
const Predicate predicate_table[] = {{"isfinite", isfinite, false, false, true, true, true},
                                     {"isnan", isnan, true, false, false, false, false},
                                     {"isinf", isinf, false, true, false, false, false}};

struct Logical {
  const char* name;
  Expr (*op)(Arg, Arg);
  bool ff, ft, tf, tt;
};
const Logical logical_table[] = {{"logical_and", logical_and, false, false, false, true},
                                 {"logical_or", logical_or, false, true, true, true},
                                 {"logical_xor", logical_xor, false, true, true, false}};

// Signs of zeros too.
bool fits_with_sign(double got, double want, const Limits& t) {
  return fits(got, want, t) && (got != 0 || want != 0 || std::signbit(got) == std::signbit(want));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(special_values)

BOOST_AUTO_TEST_CASE(every_row_of_the_scalar_table_stands_in_a_table_here) {
  std::set<std::string> known;
  for (const UnaryRow& row : unary_table(double_limits())) known.insert(row.name);
  for (const BinaryRow& row : binary_table(double_limits())) known.insert(row.name);
  for (const Compared& row : compared_table) known.insert(row.name);
  for (const Predicate& row : predicate_table) known.insert(row.name);
  for (const Logical& row : logical_table) known.insert(row.name);
#define BG_UNARY(name, types, value, adjoint) BOOST_TEST(known.contains(#name), #name);
#define BG_BINARY(name, types, value, to_a, to_b) BOOST_TEST(known.contains(#name), #name);
#define BG_PREDICATE(name, value) BOOST_TEST(known.contains(#name), #name);
#define BG_COMPARE(name, value) BOOST_TEST(known.contains(#name), #name);
#define BG_LOGICAL(name, value) BOOST_TEST(known.contains(#name), #name);
#include "blockgrad/graph/scalar.def"
#undef BG_UNARY
#undef BG_BINARY
#undef BG_PREDICATE
#undef BG_COMPARE
#undef BG_LOGICAL
}

BOOST_AUTO_TEST_CASE(functions_of_one_number) {
  in_every_way([](DType dtype, const Limits& t, const CompileOptions& options) {
    for (const UnaryRow& row : unary_table(t)) {
      std::vector<double> xs;
      for (const Point& p : row.points) xs.push_back(p.x);
      const Expr x = input("x", {static_cast<std::int64_t>(xs.size())}, dtype);
      const Expr y = row.op(x);
      const std::vector<Expr> outputs{y, grad(sum(y), {x})[0]};
      const std::vector<Tensor> got = op_check::run(outputs, {{x, column(xs, dtype)}}, options);
      for (std::size_t i = 0; i < xs.size(); ++i) {
        const Point& p = row.points[i];
        const double value = got[0].at(static_cast<std::int64_t>(i));
        const double slope = got[1].at(static_cast<std::int64_t>(i));
        BOOST_TEST(fits_with_sign(value, p.y, t),
                   row.name << "(" << p.x << ") is " << value << ", expected " << p.y);
        BOOST_TEST(fits(slope, p.slope, t), "slope of " << row.name << " at " << p.x << " is "
                                                        << slope << ", expected " << p.slope);
      }
    }
  });
}

BOOST_AUTO_TEST_CASE(functions_of_two_numbers) {
  in_every_way([](DType dtype, const Limits& t, const CompileOptions& options) {
    for (const BinaryRow& row : binary_table(t)) {
      std::vector<double> as, bs;
      for (const Pair& p : row.pairs) as.push_back(p.a), bs.push_back(p.b);
      const Shape shape{static_cast<std::int64_t>(as.size())};
      const Expr a = input("a", shape, dtype), b = input("b", shape, dtype);
      const Expr y = row.op(a, b);
      const std::vector<Expr> slopes = grad(sum(y), {a, b});
      const std::vector<Expr> outputs{y, slopes[0], slopes[1]};
      const std::vector<Tensor> got =
          op_check::run(outputs, {{a, column(as, dtype)}, {b, column(bs, dtype)}}, options);
      for (std::size_t i = 0; i < as.size(); ++i) {
        const Pair& p = row.pairs[i];
        const auto at = static_cast<std::int64_t>(i);
        BOOST_TEST(fits_with_sign(got[0].at(at), p.y, t), row.name << "(" << p.a << ", " << p.b
                                                                   << ") is " << got[0].at(at)
                                                                   << ", expected " << p.y);
        BOOST_TEST(fits(got[1].at(at), p.to_a, t), row.name << "(" << p.a << ", " << p.b
                                                            << ") sends " << got[1].at(at)
                                                            << " to a, expected " << p.to_a);
        BOOST_TEST(fits(got[2].at(at), p.to_b, t), row.name << "(" << p.a << ", " << p.b
                                                            << ") sends " << got[2].at(at)
                                                            << " to b, expected " << p.to_b);
      }
    }
  });
}

BOOST_AUTO_TEST_CASE(zeros_of_both_signs_tie) {
  const Expr a = input("a", {2}, DType::f64), b = input("b", {2}, DType::f64);
  using Function = Expr (*)(Arg, Arg);
  for (const Function op : {Function(maximum), Function(minimum)}) {
    const Tensor to_a = evaluate(grad(sum(op(a, b)), {a})[0],
                                 {{a, tensor({0.0, -0.0}, {2})}, {b, tensor({-0.0, 0.0}, {2})}});
    BOOST_TEST(to_a.at(0) == 0.5);
    BOOST_TEST(to_a.at(1) == 0.5);
  }
}

BOOST_AUTO_TEST_CASE(comparisons_and_predicates) {
  in_every_way([](DType dtype, const Limits& t, const CompileOptions& options) {
    const Expr a = input("a", {5}, dtype), b = input("b", {5}, dtype);
    const Tensor left = column({t.nan, 2, -0.0, 1, t.inf}, dtype);
    const Tensor right = column({1, 2, 0.0, 2, t.inf}, dtype);
    for (const Compared& row : compared_table) {
      const Tensor got = evaluate(row.op(a, b), Feeds{{a, left}, {b, right}}, options);
      const bool expected[] = {row.on_nan, row.on_equal, row.on_zeros, row.on_less,
                               row.on_infinities};
      BOOST_TEST(std::ranges::equal(got.span<bool>(), expected), row.name);
    }
    const Tensor x = column({t.nan, -t.inf, -t.max, t.tiny, -0.0}, dtype);
    for (const Predicate& row : predicate_table) {
      const Tensor got = evaluate(row.op(a), Feeds{{a, x}}, options);
      const bool expected[] = {row.on_nan, row.on_infinity, row.on_max, row.on_tiny, row.on_zero};
      BOOST_TEST(std::ranges::equal(got.span<bool>(), expected), row.name);
    }
  });
}

BOOST_AUTO_TEST_CASE(logic) {
  const Expr a = input("a", {4}, DType::boolean), b = input("b", {4}, DType::boolean);
  const Feeds feeds{{a, tensor({false, false, true, true}, {4})},
                    {b, tensor({false, true, false, true}, {4})}};
  for (const Logical& row : logical_table) {
    const bool expected[] = {row.ff, row.ft, row.tf, row.tt};
    BOOST_TEST(std::ranges::equal(evaluate(row.op(a, b), feeds).span<bool>(), expected), row.name);
  }
}

BOOST_AUTO_TEST_CASE(where_sends_nothing_to_the_branch_not_taken_and_fma_rounds_once) {
  in_every_way([](DType dtype, const Limits& t, const CompileOptions& options) {
    const Expr c = input("c", {4}, DType::boolean);
    const Expr a = input("a", {4}, dtype), b = input("b", {4}, dtype);
    const Expr y = where(c, a, b);
    const std::vector<Expr> slopes = grad(sum(y * y), {a, b});
    const std::vector<Tensor> got = op_check::run(std::vector<Expr>{y, slopes[0], slopes[1]},
                                                  {{c, tensor({true, true, false, false}, {4})},
                                                   {a, column({t.inf, 3, t.nan, t.inf}, dtype)},
                                                   {b, column({t.nan, t.nan, t.inf, 4}, dtype)}},
                                                  options);
    const double values[] = {t.inf, 3, t.inf, 4};
    const double to_a[] = {t.inf, 6, 0, 0}, to_b[] = {0, 0, t.inf, 8};
    for (int i = 0; i < 4; ++i) {
      BOOST_TEST(got[0].at(i) == values[i]);
      BOOST_TEST(got[1].at(i) == to_a[i]);
      BOOST_TEST(got[2].at(i) == to_b[i]);
    }
    // max * 2 overflows before max is taken away, unless it is not rounded in between.
    const Tensor once = evaluate(
        fma(a, b, -a),
        Feeds{{a, column({t.max, t.inf, t.nan, -0.0}, dtype)}, {b, column({2, 0, 1, 1}, dtype)}},
        options);
    BOOST_TEST(once.at(0) == t.max);
    BOOST_TEST(std::isnan(once.at(1)));
    BOOST_TEST(std::isnan(once.at(2)));
    BOOST_TEST(once.at(3) == 0);
  });
}

BOOST_AUTO_TEST_SUITE_END()
