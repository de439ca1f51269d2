// Several batches that make one update together, and clipped gradients.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "tests/train/support.h"

using namespace blockgrad;
using namespace fit_support;
using train::FitOptions;

BOOST_AUTO_TEST_SUITE(fit_accumulate)

BOOST_AUTO_TEST_CASE(batches_that_make_one_update_train_like_one_batch) {
  // 4 * 21 + 19 rows: with 3 batches of 7 an update, the same five updates an epoch.
  const data::Dataset data = rows_of(103);
  for (const bool shuffle : {false, true}) {
    Linear one, three;
    one.decay = three.decay = 0.01;
    FitOptions options;
    options.epochs = 6;
    options.shuffle = shuffle;
    options.clip_norm = 0.8;
    options.batch_size = 21;
    const train::FitResult expected =
        train::fit(one.model(), data, Adam{.learning_rate = 0.05}, options);
    options.batch_size = 7;
    options.accumulate = 3;
    const train::FitResult result =
        train::fit(three.model(), data, Adam{.learning_rate = 0.05}, options);
    BOOST_TEST(result.updates == 30);
    BOOST_TEST(expected.updates == 30);
    BOOST_TEST(std::abs(one.w.value().at(0) - three.w.value().at(0)) < 1e-12);
    BOOST_TEST(std::abs(one.w.value().at(1) - three.w.value().at(1)) < 1e-12);
    BOOST_TEST(std::abs(one.b.value().at(0) - three.b.value().at(0)) < 1e-12);
    BOOST_TEST(std::abs(result.history.back().training.loss -
                        expected.history.back().training.loss) < 1e-12);
  }
}

BOOST_AUTO_TEST_CASE(the_last_update_of_an_epoch_is_that_of_the_batches_left) {
  // 10 batches of 3 and a rest of 2 rows: updates of 12, 12 and 8 rows.
  const data::Dataset data = rows_of(32);
  for (const bool shuffle : {false, true}) {
    for (const std::int64_t accumulate : {4, 100}) {
      Linear one, parts;
      FitOptions options;
      options.epochs = 3;
      options.shuffle = shuffle;
      options.batch_size = accumulate == 4 ? 12 : 32;
      if (accumulate == 100) options.shuffle = false;
      train::fit(one.model(), data, Adam{.learning_rate = 0.05}, options);
      options.shuffle = shuffle;
      options.batch_size = 3;
      options.accumulate = accumulate;
      const train::FitResult result =
          train::fit(parts.model(), data, Adam{.learning_rate = 0.05}, options);
      BOOST_TEST(result.updates == (accumulate == 4 ? 9 : 3));
      BOOST_TEST(std::abs(one.w.value().at(0) - parts.w.value().at(0)) < 1e-12);
      BOOST_TEST(std::abs(one.w.value().at(1) - parts.w.value().at(1)) < 1e-12);
      BOOST_TEST(std::abs(one.b.value().at(0) - parts.b.value().at(0)) < 1e-12);
    }
  }
}

BOOST_AUTO_TEST_CASE(divergence_within_an_accumulated_update_names_update_and_batch) {
  std::vector<double> x(40, 0.1), t(20, 1.0);
  x[26] = std::numeric_limits<double>::infinity();
  const data::Dataset data{{"x", tensor(std::span<const double>(x), {20, 2})},
                           {"t", tensor(std::span<const double>(t), {20, 1})}};
  Linear linear;
  FitOptions options;
  options.epochs = 1;
  options.batch_size = 1;
  options.shuffle = false;
  options.accumulate = 4;
  const std::string text = error_of([&] { train::fit(linear.model(), data, Sgd{}, options); });
  BOOST_TEST(contains(text, "training diverged at update 4 (epoch 1, batch 14)"), text);
}

BOOST_AUTO_TEST_CASE(clipped_gradients_move_parameters_by_at_most_the_rate_times_the_norm) {
  const data::Dataset data = rows_of(20);
  Linear linear;
  linear.w.set_value(tensor({1000.0, 1000.0}, {2, 1}));
  FitOptions options;
  options.epochs = 1;
  options.batch_size = 0;
  options.clip_norm = 0.5;
  train::fit(linear.model(), data, Sgd{.learning_rate = 0.1}, options);
  const double a = linear.w.value().at(0) - 1000, b = linear.w.value().at(1) - 1000,
               c = linear.b.value().at(0);
  BOOST_TEST(std::abs(std::sqrt(a * a + b * b + c * c) - 0.05) < 1e-12);
}

BOOST_AUTO_TEST_SUITE_END()
