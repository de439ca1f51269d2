// Special values along a line, against a written table: NaN, infinities, ties, zeros, and numbers
// whose square or exponential overflows; value and gradient, in both working types, with all passes
// and with none.
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/neural.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/special_values.h"
#include "tests/support/variants.h"

using namespace blockgrad;
using namespace op_check;

namespace {

struct LineRow {
  const char* name;
  std::function<Expr(const Expr&)> op;  // of [3] to a scalar
  std::vector<double> x;
  double y;
  std::vector<double> slopes;
};

std::vector<LineRow> line_table(const Limits& t) {
  const double inf = t.inf, nan = t.nan, max = t.max;
  const auto picked = [](Expr (*op)(Arg, int)) {
    return [op](const Expr& x) { return sum(slice(op(x, -1), 0, 0, 1)); };
  };
  const auto total = [](const Expr& x) { return sum(x); };
  const auto average = [](const Expr& x) { return mean(x); };
  const auto largest = [](const Expr& x) { return blockgrad::max(x); };
  const auto smallest = [](const Expr& x) { return blockgrad::min(x); };
  const auto exponents = [](const Expr& x) { return logsumexp(x, -1); };
  const auto product = [](const Expr& x) { return prod(x); };
  const auto variance = [](const Expr& x) { return var(x); };
  const auto deviation = [](const Expr& x) { return stddev(x); };
  const auto length = [](const Expr& x) { return norm(x); };
  const double third = 1.0 / 3;
  return {
      {"sum", total, {inf, -inf, 1}, nan, {1, 1, 1}},
      {"sum", total, {nan, 1, 2}, nan, {1, 1, 1}},
      {"sum", total, {max, max, 1}, inf, {1, 1, 1}},
      {"mean", average, {inf, 1, 2}, inf, {third, third, third}},
      {"max", largest, {2, 2, 1}, 2, {0.5, 0.5, 0}},
      {"max", largest, {5, 5, 5}, 5, {third, third, third}},
      {"max", largest, {nan, 1, inf}, nan, {1, 0, 0}},
      {"max", largest, {nan, nan, 3}, nan, {0.5, 0.5, 0}},
      {"max", largest, {-inf, -inf, -inf}, -inf, {third, third, third}},
      {"max", largest, {0.0, -0.0, -1}, 0, {0.5, 0.5, 0}},
      {"min", smallest, {2, 2, 3}, 2, {0.5, 0.5, 0}},
      {"min", smallest, {nan, 1, -inf}, nan, {1, 0, 0}},
      {"min", smallest, {inf, -inf, max}, -inf, {0, 1, 0}},
      {"logsumexp", exponents, {-inf, -inf, -inf}, -inf, {0, 0, 0}},
      {"logsumexp", exponents, {-inf, 0, -inf}, 0, {0, 1, 0}},
      {"logsumexp", exponents, {0, 0, -1e4}, std::log(2), {0.5, 0.5, 0}},
      {"logsumexp", exponents, {1e4, 0, -1e4}, 1e4, {1, 0, 0}},
      {"prod", product, {0, 2, 3}, 0, {6, 0, 0}},
      {"prod", product, {0, 0, 3}, 0, {0, 0, 0}},
      {"prod", product, {nan, 2, 3}, nan, {6, nan, nan}},
      {"var", variance, {4, 4, 4}, 0, {0, 0, 0}},
      {"stddev", deviation, {4, 4, 4}, 0, {0, 0, 0}},
      {"norm", length, {0, 0, 0}, 0, {0, 0, 0}},
      {"norm", length, {max / 2, 0, 0}, max / 2, {1, 0, 0}},
      {"norm", length, {3 * t.tiny, 4 * t.tiny, 0}, 5 * t.tiny, {0.6, 0.8, 0}},
      {"softmax", picked(softmax), {1e4, -1e4, -1e4}, 1, {0, 0, 0}},
      {"softmax", picked(softmax), {-inf, 0, 0}, 0, {0, 0, 0}},
      {"softmax", picked(softmax), {-inf, -inf, -inf}, nan, {nan, nan, nan}},
      {"softmax", picked(softmax), {inf, 0, 0}, nan, {nan, nan, nan}},
      {"log_softmax", picked(log_softmax), {-1e4, 1e4, -1e4}, -2e4, {1, -1, 0}},
      {"log_softmax", picked(log_softmax), {0, -inf, -inf}, 0, {0, 0, 0}},
  };
}

}  // namespace

BOOST_AUTO_TEST_SUITE(special_lines)

BOOST_AUTO_TEST_CASE(reductions_of_a_line) {
  in_every_way([](DType dtype, const Limits& t, const CompileOptions& options) {
    for (const LineRow& row : line_table(t)) {
      const Expr x = input("x", {3}, dtype);
      const Expr y = row.op(x);
      const std::vector<Tensor> got = op_check::run(std::vector<Expr>{y, grad(y, {x})[0]},
                                                    {{x, column(row.x, dtype)}}, options);
      const std::string line = std::string(row.name) + " of " + to_string(column(row.x, dtype));
      BOOST_TEST(fits(got[0].at(0), row.y, t),
                 line << " is " << got[0].at(0) << ", expected " << row.y);
      for (int i = 0; i < 3; ++i) {
        const double slope = row.slopes[static_cast<std::size_t>(i)];
        BOOST_TEST(fits(got[1].at(i), slope, t), line << " sends " << got[1].at(i) << " to element "
                                                      << i << ", expected " << slope);
      }
    }
  });
}

BOOST_AUTO_TEST_SUITE_END()
