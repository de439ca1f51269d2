// Softmax and its relatives along every axis, and with entries that would overflow.
#include "blockgrad/ops/neural.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/op_check.h"

using namespace blockgrad;
using namespace op_check;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

Array shares(const Array& x, int axis, bool logarithm) {
  const Array sums = along(x, {axis}, true, [](const std::vector<double>& line) {
    double s = 0;
    for (const double v : line) s += std::exp(v);
    return s;
  });
  return pointwise(std::vector<Array>{x, sums}, [=](auto v) {
    return logarithm ? v[0] - std::log(v[1]) : std::exp(v[0]) / v[1];
  });
}

std::vector<OpCase> rows() {
  std::vector<OpCase> all;
  for (const int axis : {-1, 0, 1}) {
    const std::vector<std::vector<Shape>> shapes = {
        {{2, 3}}, {{3, 2, 2}}, {{1, 1}}, {{0, 3}}, {{3, 0}}};
    all.push_back({"softmax_along_axis_" + std::to_string(axis), shapes,
                   [=](auto x) { return softmax(x[0], axis); },
                   [=](auto x) { return shares(x[0], axis, false); }});
    all.push_back({"log_softmax_along_axis_" + std::to_string(axis), shapes,
                   [=](auto x) { return log_softmax(x[0], axis); },
                   [=](auto x) { return shares(x[0], axis, true); }});
  }
  all.push_back({"log_of_softmax",
                 {{{2, 4}}},
                 [](auto x) { return log(softmax(x[0])); },
                 [](auto x) { return shares(x[0], -1, true); }});
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(neural)

BG_CASES(rows())

BOOST_AUTO_TEST_CASE(large_logits_stay_finite) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Expr x = input("x", {3}, dtype);
    const Tensor values = tensor({1e4, -1e4, 9999.0}, {3}).astype(dtype);
    for (const Expr& y : {softmax(x), log_softmax(x)}) {
      const Tensor t = evaluate(y, {{x, values}});
      const Tensor g = evaluate(grad(sum(square(y)), {x})[0], {{x, values}});
      for (int i = 0; i < 3; ++i) {
        BOOST_TEST(std::isfinite(t.at(i)));
        BOOST_TEST(std::isfinite(g.at(i)));
      }
    }
    BOOST_TEST(evaluate(log_softmax(x), {{x, values}}).at(1) == -2e4,
               boost::test_tools::tolerance(1e-3));
  }
}

BOOST_AUTO_TEST_CASE(lines_of_infinity_give_nan_and_single_ones_do_not) {
  const Expr x = input("x", {2}, DType::f64);
  BOOST_TEST(std::isnan(evaluate(softmax(x), {{x, tensor({-inf, -inf}, {2})}}).at(0)));
  BOOST_TEST(std::isnan(evaluate(softmax(x), {{x, tensor({inf, 0.0}, {2})}}).at(0)));
  const Tensor y = evaluate(softmax(x), {{x, tensor({-inf, 0.0}, {2})}});
  BOOST_TEST(y.at(0) == 0);
  BOOST_TEST(y.at(1) == 1);
}

BOOST_AUTO_TEST_SUITE_END()
