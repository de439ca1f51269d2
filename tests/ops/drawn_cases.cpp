// Random numbers as rows: each is worked out again from its Philox block in double.
#include "blockgrad/ops/random.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numbers>
#include <numeric>

#include "blockgrad/graph/philox.h"
#include "blockgrad/ops/elementwise.h"
#include "tests/support/op_check.h"

using namespace blockgrad;
using op_check::Array;
using op_check::OpCase;

namespace {

constexpr std::uint64_t seed = 0x0123456789abcdefu;
constexpr unsigned int stream = 5, step = 3;

Stream the_stream() { return {seed, stream, constant(tensor({std::int64_t{step}}, Shape{}))}; }

// The four words of element i.
PhiloxBlock block_of(std::size_t i) {
  return philox({{static_cast<unsigned int>(i), 0, step, stream}}, 0x89abcdefu, 0x01234567u);
}

double interval(unsigned int low_word, unsigned int high_word) {
  return double((std::uint64_t{high_word} << 32 | low_word) >> 11) * 0x1p-53;
}
double first(std::size_t i) { return interval(block_of(i).word[0], block_of(i).word[1]); }
double second(std::size_t i) { return interval(block_of(i).word[2], block_of(i).word[3]); }
double narrow(std::size_t i) { return double(block_of(i).word[0] >> 8) * 0x1p-24; }

double standard_normal(std::size_t i) {
  return std::sqrt(-2 * std::log(1 - first(i))) * std::cos(2 * std::numbers::pi * second(i));
}

// The z between -2 and 2 with P(-2 < x < z) = u P(-2 < x < 2), by halving.
double truncated(std::size_t i) {
  const double y = (2 * first(i) - 1) * std::erf(std::sqrt(2.0));
  double low = -2, high = 2;
  for (int k = 0; k < 80; ++k) {
    const double middle = (low + high) / 2;
    (std::erf(middle / std::sqrt(2.0)) < y ? low : high) = middle;
  }
  return low;
}

using Number = double (*)(std::size_t);

OpCase row(std::string name, Expr (*op)(const Shape&), Number number) {
  OpCase row{std::move(name),
             {{{}}, {{7}}, {{2, 3}}, {{1, 4, 1}}, {{0, 2}}},
             [op](auto x) { return op(x[0].shape()); },
             [number](auto x) {
               Array y = x[0];
               for (std::size_t i = 0; i < y.values.size(); ++i) y.values[i] = number(i);
               return y;
             }};
  row.has_gradient = false;
  row.dtypes = {DType::f64};  // f32 numbers are made from fewer bits
  row.tolerance64 = 1e-12;
  return row;
}

std::vector<OpCase> rows() {
  std::vector<OpCase> all;
  all.push_back(row(
      "uniform", [](const Shape& s) { return uniform(s, -1, 3, the_stream(), DType::f64); },
      [](std::size_t i) { return -1 + 4 * first(i); }));
  all.push_back(row(
      "normal", [](const Shape& s) { return normal(s, 1, 0.5, the_stream(), DType::f64); },
      [](std::size_t i) { return 1 + 0.5 * standard_normal(i); }));
  all.push_back(row(
      "truncated_normal",
      [](const Shape& s) { return truncated_normal(s, 1, 0.5, the_stream(), DType::f64); },
      [](std::size_t i) { return 1 + 0.5 * truncated(i); }));
  all.push_back(row(
      "bernoulli",
      [](const Shape& s) { return astype(bernoulli(s, 0.25, the_stream()), DType::f64); },
      [](std::size_t i) { return narrow(i) < 0.25 ? 1.0 : 0.0; }));
  all.push_back(row(
      "randint", [](const Shape& s) { return astype(randint(s, -3, 4, the_stream()), DType::f64); },
      [](std::size_t i) { return -3 + std::floor(7 * first(i)); }));
  all.push_back({"dropout",
                 {{{}}, {{7}}, {{2, 3}}, {{1, 4, 1}}, {{0, 2}}},
                 [](auto x) {
                   Context context({.seed = seed, .step = the_stream().step});
                   for (unsigned int skipped = 0; skipped < stream; ++skipped) context.stream();
                   return dropout(x[0], 0.4, context);
                 },
                 [](auto x) {
                   Array y = x[0];
                   for (std::size_t i = 0; i < y.values.size(); ++i)
                     y.values[i] *= narrow(i) < 0.4 ? 0.0 : 1 / 0.6;
                   return y;
                 }});
  OpCase order{
      "permutation",
      {{{7}}, {{0}}, {{1}}, {{2, 3}}, {{40}}},
      [](auto x) { return astype(permutation(x[0].shape().size(), the_stream()), DType::f64); },
      [](auto x) {
        const auto n = x[0].values.size();
        Array y{Shape{static_cast<std::int64_t>(n)}, std::vector<double>(n)};
        std::iota(y.values.begin(), y.values.end(), 0.0);
        std::sort(y.values.begin(), y.values.end(), [](double a, double b) {
          return first(static_cast<std::size_t>(a)) < first(static_cast<std::size_t>(b));
        });
        return y;
      }};
  order.has_gradient = false;
  order.dtypes = {DType::f64};
  all.push_back(std::move(order));
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(drawn)

BG_CASES(rows())

BOOST_AUTO_TEST_SUITE_END()
