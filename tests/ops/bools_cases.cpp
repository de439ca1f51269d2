// What gives bools, and what reads them: predicates, logic, all and any.
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/op_check.h"

using namespace blockgrad;
using op_check::along;
using op_check::Draw;
using op_check::OpCase;
using op_check::pointwise;

namespace {

const std::vector<std::vector<Shape>> one = {{{}}, {{5}}, {{2, 3}}, {{1}}, {{0}}, {{3, 1, 2}}};
const std::vector<std::vector<Shape>> two = {{{}, {}},         {{3}, {}},  {{2, 3}, {3}},
                                             {{2, 1}, {1, 3}}, {{4}, {4}}, {{0}, {1}}};

double conjunction(const std::vector<double>& line) {
  for (const double v : line) {
    if (v == 0) return 0;
  }
  return 1;
}
double disjunction(const std::vector<double>& line) {
  for (const double v : line) {
    if (v != 0) return 1;
  }
  return 0;
}

OpCase of_numbers(std::string name, std::function<Expr(const Expr&)> op,
                  std::function<double(double)> value) {
  OpCase row{std::move(name), one, [op](auto x) { return op(x[0]); },
             [value](auto x) { return pointwise(x, [&](auto v) { return value(v[0]); }); }};
  row.has_gradient = false;
  return row;
}

OpCase of_bools(std::string name, Expr (*op)(Arg, Arg), double (*value)(double, double)) {
  OpCase row{std::move(name), two, [op](auto x) { return op(x[0], x[1]); },
             [value](auto x) { return pointwise(x, [&](auto v) { return value(v[0], v[1]); }); }};
  row.inputs = {Draw::boolean(), Draw::boolean()};
  row.has_gradient = false;
  row.dtypes = {DType::f64};
  return row;
}

OpCase of_lines(std::string name, Expr (*op)(Arg, const Axes&, bool), std::vector<int> axes,
                bool keepdims, double (*value)(const std::vector<double>&)) {
  OpCase row{std::move(name),
             {{{2, 3, 4}}, {{1, 3, 1}}, {{3, 0, 2}}},
             [=](auto x) {
               Axes list;
               list.list = axes;
               return op(x[0], list, keepdims);
             },
             [=](auto x) { return along(x[0], axes, keepdims, value); }};
  row.inputs = {Draw::boolean()};
  row.has_gradient = false;
  row.dtypes = {DType::f64};
  return row;
}

std::vector<OpCase> rows() {
  std::vector<OpCase> all_rows;
  const auto add = [&](OpCase row) { all_rows.push_back(std::move(row)); };
  // Half of the numbers drawn are negative.
  add(of_numbers(
      "isnan_of_a_logarithm", [](const Expr& x) { return isnan(log(x)); },
      [](double x) { return double(x < 0); }));
  add(of_numbers(
      "isinf_of_one_by_zero", [](const Expr& x) { return isinf(1.0 / relu(x)); },
      [](double x) { return double(x <= 0); }));
  add(of_numbers(
      "isfinite_of_a_logarithm_of_zero", [](const Expr& x) { return isfinite(log(relu(x))); },
      [](double x) { return double(x > 0); }));
  add(of_bools("logical_and", logical_and,
               [](double a, double b) { return double(a != 0 && b != 0); }));
  add(of_bools("logical_or", logical_or,
               [](double a, double b) { return double(a != 0 || b != 0); }));
  add(of_bools("logical_xor", logical_xor, [](double a, double b) { return double(a != b); }));
  OpCase opposite{"logical_not", one, [](auto x) { return logical_not(x[0]); },
                  [](auto x) { return pointwise(x, [](auto v) { return double(v[0] == 0); }); }};
  opposite.inputs = {Draw::boolean()};
  opposite.has_gradient = false;
  opposite.dtypes = {DType::f64};
  add(opposite);
  OpCase chosen{
      "where",
      {{{}, {}, {}}, {{2, 3}, {3}, {}}, {{3}, {2, 3}, {2, 1}}, {{0}, {1}, {0}}},
      [](auto x) { return where(x[0], x[1], x[2]); },
      [](auto x) { return pointwise(x, [](auto v) { return v[0] != 0 ? v[1] : v[2]; }); }};
  chosen.inputs = {Draw::boolean(), Draw::number(), Draw::number()};
  chosen.takes_integers = true;
  add(chosen);
  for (const bool keepdims : {false, true}) {
    const std::string kept = keepdims ? "_kept" : "";
    add(of_lines("all_of_the_tensor" + kept, all, {}, keepdims, conjunction));
    add(of_lines("any_of_the_tensor" + kept, any, {}, keepdims, disjunction));
    add(of_lines("all_along_the_last_axis" + kept, all, {-1}, keepdims, conjunction));
    add(of_lines("any_along_the_last_axis" + kept, any, {-1}, keepdims, disjunction));
    add(of_lines("all_along_two_axes" + kept, all, {0, 1}, keepdims, conjunction));
    add(of_lines("any_along_two_axes" + kept, any, {1, 2}, keepdims, disjunction));
  }
  return all_rows;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(bools)

BG_CASES(rows())

BOOST_AUTO_TEST_SUITE_END()
