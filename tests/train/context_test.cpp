// What a model gets besides its columns: random streams that follow the updates, and updates of its
// own.
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "blockgrad/blockgrad.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

data::Dataset rows_of(std::int64_t n) {
  std::vector<double> x, t;
  for (std::int64_t i = 0; i < n; ++i) {
    x.push_back(std::sin(0.7 * static_cast<double>(i)));
    t.push_back(2 * x.back());
  }
  return {{"x", tensor(std::span<const double>(x), {n, 1})},
          {"t", tensor(std::span<const double>(t), {n, 1})}};
}

Tensor trained(std::uint64_t seed, double p, train::FitOptions options) {
  const Expr w = parameter(full({1, 1}, 0.5, DType::f64), "w");
  options.seed = seed;
  train::fit(
      [&](train::Inputs& in) { return mse_loss(matmul(dropout(in["x"], p, in), w), in["t"]); },
      rows_of(12), Sgd{.learning_rate = 0.05}, options);
  return w.value();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(context)

BOOST_AUTO_TEST_CASE(masks_change_from_step_to_step_and_follow_the_seed) {
  const train::FitOptions whole{.epochs = 8, .batch_size = 0};
  const Tensor one = trained(1, 0.5, whole);
  BOOST_TEST(same_bits(one, trained(1, 0.5, whole)));
  BOOST_TEST(!same_bits(one, trained(2, 0.5, whole)));
  BOOST_TEST(!same_bits(one, trained(1, 0, whole)));
}

BOOST_AUTO_TEST_CASE(every_batch_has_a_mask_of_its_own_also_when_batches_are_accumulated) {
  for (const std::int64_t accumulate : {1, 3}) {
    const Expr w = parameter(zeros({8}, DType::f64), "w");
    train::FitOptions options{.epochs = 1, .batch_size = 2, .shuffle = false};
    options.accumulate = accumulate;
    train::fit(
        [&](train::Inputs& in) {
          const Expr mask = dropout(constant(ones({8}, DType::f64)), 0.5, in);
          return Loss{sum(w * mask) + 0.0 * sum(in["x"]), constant(ones({}, DType::f64)), {}};
        },
        rows_of(12), Sgd{.learning_rate = 1}, options);
    // Six masks of 0 and 2: equal ones would add up to 0 or 12 everywhere.
    int between = 0;
    for (std::int64_t i = 0; i < 8; ++i) {
      const double total = -w.value().at(i) * (accumulate == 3 ? 3 : 1);
      between += total > 0.1 && total < 11.9;
    }
    BOOST_TEST(between >= 4, "accumulate " << accumulate);
  }
}

BOOST_AUTO_TEST_CASE(evaluation_drops_nothing) {
  const Expr w = parameter(full({1, 1}, 0.5, DType::f64), "w");
  const auto model = [&](double p) {
    return [&w, p](train::Inputs& in) {
      return mse_loss(matmul(dropout(in["x"], p, in), w), in["t"]);
    };
  };
  const data::Dataset data = rows_of(9);
  BOOST_TEST(train::evaluate(model(0.5), data, 4).loss == train::evaluate(model(0), data, 4).loss);
}

BOOST_AUTO_TEST_CASE(updates_of_a_model_are_applied_with_each_good_step_and_only_then) {
  const Expr w = parameter(full({1, 1}, 0.5, DType::f64), "w");
  const Expr seen = state(zeros({}, DType::f64), "seen");
  const train::Model model = [&](train::Inputs& in) {
    if (in.is_training())
      in.updates().chain(seen, in.updates().latest(seen) + static_cast<double>(in.batch_size()));
    return train::Outcome(mse_loss(matmul(in["x"], w), in["t"]));
  };
  const data::Dataset data = rows_of(10);
  train::fit(model, data, Sgd{.learning_rate = 0.05}, {.epochs = 3, .batch_size = 4});
  BOOST_TEST(seen.value().at(0) == 30);
  train::evaluate(model, data);
  BOOST_TEST(seen.value().at(0) == 30);
  w.set_value(full({1, 1}, INFINITY, DType::f64));
  BOOST_CHECK_THROW(train::fit(model, data, Sgd{.learning_rate = 0.05}, {.epochs = 1}),
                    train::DivergenceError);
  BOOST_TEST(seen.value().at(0) == 30);
}

BOOST_AUTO_TEST_SUITE_END()
