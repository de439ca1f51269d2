// Bounds hold what a program can make of its inputs, and refuse what they do not know.
#include "backends/cpu/bounds.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <random>

#include "blockgrad/blockgrad.h"

using namespace blockgrad;

namespace {

using Formula = std::function<Scalar(Scalar, Scalar)>;

ScalarFn recorded(const Formula& formula, DType dtype = DType::f32) {
  const DType dtypes[] = {dtype, dtype};
  ScalarRecorder recorder(dtypes);
  const Scalar results[] = {formula(recorder.input(0), recorder.input(1))};
  return recorder.finish(results);
}

const std::pair<const char*, Formula> formulas[] = {
    {"sgd", [](Scalar w, Scalar g) { return w - Scalar(0.1) * g; }},
    {"adam",
     [](Scalar w, Scalar g) {
       const Scalar v = Scalar(0.9) * w * w + Scalar(0.1) * square(g);
       return w - (w * Scalar(0.9) + g) / (sqrt(v) + Scalar(1e-8)) - abs(g);
     }},
    {"clipped", [](Scalar w, Scalar g) { return maximum(minimum(w, 1.0), -2.0) * fma(g, w, g); }},
    {"branch", [](Scalar w, Scalar g) { return where(g > 0, -w, g / (square(w) + 0.5)); }},
};

}  // namespace

BOOST_AUTO_TEST_SUITE(bounds)

BOOST_AUTO_TEST_CASE(values_lie_inside_their_bounds) {
  std::mt19937 generator(5);
  std::uniform_real_distribution<double> uniform(0, 1);
  std::vector<Bounds> values;
  for (const auto& [name, formula] : formulas) {
    const ScalarFn fn = recorded(formula);
    for (int round = 0; round < 50; ++round) {
      const double scale = std::pow(10.0, 12 * uniform(generator) - 6);
      Bounds inputs[2];
      for (Bounds& b : inputs) {
        const double p = scale * (uniform(generator) - 0.5), q = scale * (uniform(generator) - 0.5);
        b = {std::min(p, q), std::max(p, q)};
      }
      if (!find_bounds(fn, inputs, values)) continue;
      const Bounds result = values[static_cast<std::size_t>(fn.results()[0])];
      const Expr w = input("w", {100}), g = input("g", {100});
      std::vector<float> at[2];
      for (int n = 0; n < 2; ++n) {
        for (int i = 0; i < 100; ++i) {
          const double t = i == 0 ? 0 : i == 1 ? 1 : uniform(generator);
          const auto x = static_cast<float>(inputs[n].low + t * (inputs[n].high - inputs[n].low));
          at[n].push_back(
              std::clamp(x, static_cast<float>(inputs[n].low), static_cast<float>(inputs[n].high)));
        }
      }
      const Expr y =
          map("formula", {w, g}, [&](std::span<const Scalar> s) { return formula(s[0], s[1]); });
      const Tensor made = evaluate(y, {{w, tensor(std::span<const float>(at[0]), {100})},
                                       {g, tensor(std::span<const float>(at[1]), {100})}});
      for (int i = 0; i < 100; ++i) {
        const double room = 1e-6 * std::max(std::abs(result.low), std::abs(result.high));
        BOOST_TEST((made.at(i) >= result.low - room && made.at(i) <= result.high + room), name);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(what_may_overflow_is_refused) {
  std::vector<Bounds> values;
  const Bounds small[] = {{-1, 1}, {-1, 1}}, large[] = {{-1e20, 1e20}, {-1, 1}};
  const ScalarFn squares = recorded([](Scalar w, Scalar g) { return w * w + g; });
  BOOST_TEST(find_bounds(squares, small, values));
  BOOST_TEST(!find_bounds(squares, large, values));
  const ScalarFn wide = recorded([](Scalar w, Scalar g) { return w * w + g; }, DType::f64);
  BOOST_TEST(find_bounds(wide, large, values));
  const Bounds unknown[] = {{}, {-1, 1}};
  BOOST_TEST(!find_bounds(squares, unknown, values));
}

BOOST_AUTO_TEST_CASE(what_may_leave_the_numbers_is_refused) {
  std::vector<Bounds> values;
  const Bounds around[] = {{-1, 1}, {-1, 1}}, above[] = {{-1, 1}, {0.5, 1}};
  const auto refused = [&](const Formula& formula, std::span<const Bounds> inputs) {
    return !find_bounds(recorded(formula), inputs, values);
  };
  const Formula quotient = [](Scalar w, Scalar g) { return w / g; };
  const Formula root = [](Scalar w, Scalar g) { return w + sqrt(g); };
  BOOST_TEST(refused(quotient, around));
  BOOST_TEST(!refused(quotient, above));
  BOOST_TEST(refused(root, around));
  BOOST_TEST(!refused(root, above));
  BOOST_TEST(refused([](Scalar w, Scalar g) { return exp(w) + g; }, above));
  BOOST_TEST(refused([](Scalar w, Scalar g) { return astype(g > 0, DType::f32) * w; }, above));
  BOOST_TEST(refused([](Scalar w, Scalar) { return w * Scalar(INFINITY); }, above));
}

BOOST_AUTO_TEST_SUITE_END()
