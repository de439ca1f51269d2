// Normalizations against the definition in two passes over doubles; large means, constant rows.
#include "blockgrad/ops/norms.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <random>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/graph/view.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/op_check.h"

using namespace blockgrad;
using namespace op_check;

namespace {

constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();
using Shapes = std::vector<std::vector<Shape>>;

struct Moments {
  double mean = 0, variance = 0, squares = 0;
};

Moments moments(const std::vector<double>& v) {
  Moments m;
  const double n = static_cast<double>(v.size());
  for (const double e : v) m.mean += e / n;
  for (const double e : v) m.variance += (e - m.mean) * (e - m.mean) / n;
  for (const double e : v) m.squares += e * e / n;
  return m;
}

// The elements of x for which `same` holds of their index and i.
std::vector<double> elements_with(const Array& x, const Index& i,
                                  const std::function<bool(const Index&, const Index&)>& same) {
  std::vector<double> found;
  make_array(x.shape, [&](const Index& k) {
    if (same(i, k)) found.push_back(x.at(k));
    return 0.0;
  });
  return found;
}

double affine(double y, std::span<const Array> args, const Index& i, std::size_t next = 1) {
  if (args.size() > next) y *= args[next].at(i);
  if (args.size() > next + 1) y += args[next + 1].at(i);
  return y;
}

Expr at(std::span<const Expr> x, std::size_t i) { return i < x.size() ? x[i] : Expr(); }

std::vector<OpCase> rows() {
  std::vector<OpCase> all;
  const auto layer = [&](const std::string& name, Shapes shapes, std::vector<int> axes,
                         double eps) {
    Axes list;
    list.list = axes;
    const auto same_line = [=](const Index& i, const Index& k) {
      for (int a = 0; a < static_cast<int>(i.size()); ++a) {
        bool over = false;
        for (const int b : axes) over = over || a == (b < 0 ? b + static_cast<int>(i.size()) : b);
        if (!over && i[static_cast<std::size_t>(a)] != k[static_cast<std::size_t>(a)]) return false;
      }
      return true;
    };
    const auto along_axes = [=](const Index& i) {
      Index own;
      for (int a = 0; a < static_cast<int>(i.size()); ++a) {
        for (const int b : axes) {
          if (a == (b < 0 ? b + static_cast<int>(i.size()) : b))
            own.push_back(i[static_cast<std::size_t>(a)]);
        }
      }
      return own;
    };
    all.push_back({"layer_norm" + name, shapes,
                   [=](auto x) { return layer_norm(x[0], at(x, 1), at(x, 2), list, eps); },
                   [=](auto x) {
                     return make_array(x[0].shape, [&](const Index& i) {
                       const Moments m = moments(elements_with(x[0], i, same_line));
                       return affine((x[0].at(i) - m.mean) / std::sqrt(m.variance + eps), x,
                                     along_axes(i));
                     });
                   }});
    all.back().tolerance32 = 2e-5;  // a line of two close elements is divided by its small spread
    all.push_back({"rms_norm" + name, shapes,
                   [=](auto x) { return rms_norm(x[0], at(x, 1), at(x, 2), list, eps); },
                   [=](auto x) {
                     return make_array(x[0].shape, [&](const Index& i) {
                       const Moments m = moments(elements_with(x[0], i, same_line));
                       return affine(x[0].at(i) / std::sqrt(m.squares + eps), x, along_axes(i));
                     });
                   }});
  };
  layer("",
        {{{2, 4}, {4}, {4}},
         {{3, 2, 5}, {5}, {5}},
         {{1, 6}, {6}, {6}},
         {{0, 3}, {3}, {3}},
         {{2, 1}, {1}, {1}},
         {{3, 0}, {0}, {0}}},
        {-1}, 1e-5);
  layer("_without_gain", {{{2, 4}}, {{5}}, {{3, 1, 4}}}, {-1}, 1e-5);
  layer("_with_gain_alone", {{{2, 4}, {4}}}, {-1}, 1e-3);
  layer("_over_two_axes", {{{2, 3, 4}, {3, 4}, {3, 4}}, {{2, 1, 3}, {1, 3}, {1, 3}}}, {-1, -2},
        1e-5);
  layer("_over_the_first_axis", {{{4, 3}, {4}, {4}}}, {0}, 0.1);

  for (const std::int64_t groups : {1, 2, 4}) {
    all.push_back(
        {"group_norm_of_" + std::to_string(groups),
         {{{2, 4, 3}, {4}, {4}}, {{1, 4, 2, 2}, {4}, {4}}, {{2, 4, 2}}, {{0, 4, 2}, {4}, {4}}},
         [=](auto x) { return group_norm(x[0], groups, at(x, 1), at(x, 2)); },
         [=](auto x) {
           const std::int64_t each = x[0].shape[1] / groups;
           return make_array(x[0].shape, [&](const Index& i) {
             const Moments m = moments(elements_with(x[0], i, [=](const Index& a, const Index& b) {
               return a[0] == b[0] && a[1] / each == b[1] / each;
             }));
             return affine((x[0].at(i) - m.mean) / std::sqrt(m.variance + 1e-5), x, {i[1]});
           });
         }});
    all.back().tolerance32 = 2e-5;
  }
  const auto same_channel = [](const Index& a, const Index& b) { return a[1] == b[1]; };
  all.push_back({"batch_norm_training",
                 {{{3, 2}, {2}, {2}},
                  {{2, 3, 4}, {3}, {3}},
                  {{1, 2, 2, 3}, {2}, {2}},
                  {{4, 1}},
                  {{2, 0, 3}, {0}, {0}}},
                 [](auto x) { return batch_norm_training(x[0], at(x, 1), at(x, 2)).y; },
                 [=](auto x) {
                   return make_array(x[0].shape, [&](const Index& i) {
                     const Moments m = moments(elements_with(x[0], i, same_channel));
                     return affine((x[0].at(i) - m.mean) / std::sqrt(m.variance + 1e-5), x, {i[1]});
                   });
                 }});
  all.back().tolerance32 = 2e-5;
  all.push_back({"batch_norm_training_gives_its_statistics",
                 {{{3, 2}}, {{2, 3, 4}}, {{1, 2, 2, 3}}},
                 [](auto x) {
                   const BatchNorm b = batch_norm_training(x[0], {}, {});
                   return b.mean * 3.0 + b.variance;
                 },
                 [](auto x) {
                   std::vector<int> axes{0};
                   for (int a = 2; a < x[0].shape.rank(); ++a) axes.push_back(a);
                   return along(x[0], axes, false, [](const std::vector<double>& v) {
                     const Moments m = moments(v);
                     return m.mean * 3 + m.variance;
                   });
                 }});
  all.push_back({"batch_norm_with_given_statistics",
                 {{{3, 2}, {2}, {2}, {2}, {2}},
                  {{2, 3, 4}, {3}, {3}, {3}, {3}},
                  {{1, 1}, {1}, {1}, {1}, {1}},
                  {{0, 2, 2}, {2}, {2}, {2}, {2}},
                  {{2, 1, 2, 2}, {1}, {1}, {1}, {1}}},
                 [](auto x) { return batch_norm(x[0], x[3], x[4], x[1], x[2]); },
                 [](auto x) {
                   return make_array(x[0].shape, [&](const Index& i) {
                     const Index c{i[1]};
                     const double y = (x[0].at(i) - x[1].at(c)) / std::sqrt(x[2].at(c) + 1e-5);
                     return affine(y, x, c, 3);
                   });
                 }});
  all.back().low = 0.5;  // variances are positive
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(norms)

BG_CASES(rows())

BOOST_AUTO_TEST_CASE(a_large_mean_costs_no_digit_in_f32) {
  std::mt19937 random(3);
  std::normal_distribution<double> normal(1e6, 1);
  for (const std::int64_t n : {7, 64, 1000, 4096}) {
    const Tensor x =
        tensor_of(make_array({2, n}, [&](const Index&) { return normal(random); }), DType::f32);
    const Expr e = constant(x);
    const Tensor y = evaluate(layer_norm(e, {}, {}));
    const BatchNorm b = batch_norm_training(reshape(e, {2 * n, 1}), {}, {});
    const Tensor variance = evaluate(b.variance);
    const Array all = array_of(x);
    for (std::int64_t row = 0; row < 2; ++row) {
      const std::vector<double> line(all.values.begin() + row * n,
                                     all.values.begin() + (row + 1) * n);
      const Moments m = moments(line);
      for (std::int64_t i = 0; i < n; ++i) {
        const double want =
            (line[static_cast<std::size_t>(i)] - m.mean) / std::sqrt(m.variance + 1e-5);
        BOOST_TEST_REQUIRE(std::abs(y.at(row * n + i) - want) <=
                           1e-6 * std::max(1.0, std::abs(want)));
      }
    }
    const double want = moments(all.values).variance;
    BOOST_TEST(std::abs(variance.at(0) - want) <= 1e-6 * want);
  }
}

BOOST_AUTO_TEST_CASE(a_constant_row_gives_the_shift_and_a_finite_gradient) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Expr x = input("x", {2, 3}, dtype), shift = constant(full({3}, 0.25, dtype));
    const Tensor value = tensor_of(make_array({2, 3}, [](const Index&) { return 0.1; }), dtype);
    const Expr y = layer_norm(x, {}, shift);
    const Tensor t = evaluate(y, {{x, value}});
    const Expr weights = constant(arange(0, 6, 1, dtype).reshape({2, 3}));
    const Tensor g = evaluate(grad(sum(y * weights), {x})[0], {{x, value}});
    for (int i = 0; i < 6; ++i) {
      BOOST_TEST(t.at(i) == 0.25);
      BOOST_TEST(std::isfinite(g.at(i)));
    }
    const Tensor r = evaluate(rms_norm(x, {}, shift), {{x, zeros({2, 3}, dtype)}});
    const Tensor rg =
        evaluate(grad(sum(rms_norm(x, {}) * weights), {x})[0], {{x, zeros({2, 3}, dtype)}});
    for (int i = 0; i < 6; ++i) {
      BOOST_TEST(r.at(i) == 0.25);
      BOOST_TEST(std::isfinite(rg.at(i)));
    }
  }
}

BOOST_AUTO_TEST_CASE(nan_stays_in_its_row) {
  const Expr x = input("x", {2, 2}, DType::f64);
  const Tensor y =
      evaluate(layer_norm(x, {}, {}), {{x, tensor<double>({nan_value, 1.0, 2.0, 4.0}, {2, 2})}});
  BOOST_TEST(std::isnan(y.at(1)));
  BOOST_TEST(std::abs(y.at(3) - 1) < 1e-5);
}

namespace {

// One channel of values v after another as x [n, 2].
Tensor two_channels(std::span<const double> a, std::span<const double> b) {
  return tensor_of(make_array(Shape{static_cast<std::int64_t>(a.size()), 2},
                              [&](const Index& i) {
                                const auto row = static_cast<std::size_t>(i[0]);
                                return i[1] == 0 ? a[row] : b[row];
                              }),
                   DType::f64);
}

struct Running {
  BatchStats stats{state(zeros({2}, DType::f64), "mean"), state(ones({2}, DType::f64), "variance")};
  std::vector<double> mean{0, 0}, variance{1, 1};  // what they must be

  void follow(std::span<const double> values, std::size_t channel, double momentum) {
    const Moments m = moments({values.begin(), values.end()});
    const double n = static_cast<double>(values.size());
    mean[channel] = (1 - momentum) * mean[channel] + momentum * m.mean;
    variance[channel] = (1 - momentum) * variance[channel] + momentum * m.variance * n / (n - 1);
  }
  void check() const {
    for (std::size_t c = 0; c < 2; ++c) {
      BOOST_TEST(std::abs(stats.mean.value().at(static_cast<std::int64_t>(c)) - mean[c]) < 1e-12);
      BOOST_TEST(std::abs(stats.variance.value().at(static_cast<std::int64_t>(c)) - variance[c]) <
                 1e-12);
    }
  }
};

constexpr double first[] = {1, 4, -2}, second[] = {10, 10.5, 12}, third[] = {0, 0.5, -7};

}  // namespace

BOOST_AUTO_TEST_CASE(batch_norm_in_training_moves_the_running_statistics) {
  Running running;
  Context context;
  const Expr x = input("x", {3, 2}, DType::f64);
  const Expr y = batch_norm(x, {}, {}, running.stats, context, {.momentum = 0.25});
  Program program = compile({y}, context.updates());
  program.run({{x, two_channels(first, second)}});
  running.follow(first, 0, 0.25);
  running.follow(second, 1, 0.25);
  running.check();
  program.run({{x, two_channels(third, first)}});
  running.follow(third, 0, 0.25);
  running.follow(first, 1, 0.25);
  running.check();
}

BOOST_AUTO_TEST_CASE(batch_norm_called_twice_goes_on_from_the_pending_statistics) {
  Running running;
  Context context;
  const Expr a = constant(two_channels(first, second)), b = constant(two_channels(third, first));
  const Expr y = batch_norm(a, {}, {}, running.stats, context);
  const Expr z = batch_norm(b, {}, {}, running.stats, context);
  compile({y, z}, context.updates()).run({});
  running.follow(first, 0, 0.1);
  running.follow(second, 1, 0.1);
  running.follow(third, 0, 0.1);
  running.follow(first, 1, 0.1);
  running.check();
}

BOOST_AUTO_TEST_CASE(batch_norm_outside_of_training_uses_the_running_statistics) {
  const BatchStats stats{state(full({2}, 3, DType::f64), "mean"),
                         state(full({2}, 4, DType::f64), "variance")};
  Context context({.is_training = false});
  const Expr x = input("x", {1, 2}, DType::f64);
  const Expr y = batch_norm(x, {}, {}, stats, context, {.eps = 1e-12});
  BOOST_TEST(context.updates().empty());
  const Tensor t = evaluate(y, {{x, tensor<double>({3, 7}, {1, 2})}});
  BOOST_TEST(t.at(0) == 0);
  BOOST_TEST(std::abs(t.at(1) - 2) < 1e-11);
}

BOOST_AUTO_TEST_CASE(a_batch_norm_that_fails_leaves_the_context_as_it_was) {
  Running running;
  Context context;
  const Expr one_row = input("x", {1, 2}, DType::f64);
  BOOST_CHECK_THROW(batch_norm(one_row, {}, {}, running.stats, context), Error);
  BOOST_TEST(context.updates().empty());
}

BOOST_AUTO_TEST_CASE(half_precision_is_rounded_once) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    const Tensor x = arange(0, 48, 1, DType::f64).reshape({2, 24}).astype(dtype);
    const Expr narrow = constant(x), wide = constant(x.astype(DType::f32));
    const auto check = [&](const Expr& got, const Expr& exact) {
      BOOST_TEST(same_bits(evaluate(got), evaluate(exact).astype(dtype)));
    };
    check(layer_norm(narrow, {}, {}), layer_norm(wide, {}, {}));
    check(rms_norm(narrow, {}), rms_norm(wide, {}));
    check(batch_norm_training(narrow, {}, {}).variance, batch_norm_training(wide, {}, {}).variance);
  }
}

BOOST_AUTO_TEST_SUITE_END()
