// The training loop: batches, shuffles, exact averages, stops, validation.
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "tests/train/support.h"

using namespace blockgrad;
using namespace fit_support;
using train::FitEnd;
using train::FitOptions;

BOOST_AUTO_TEST_SUITE(fit)

BOOST_AUTO_TEST_CASE(stochastic_mini_batch_and_batch_descent_are_one_setting) {
  const std::int64_t n = 103;
  const data::Dataset data = rows_of(n);
  for (const std::int64_t batch : {1, 7, 32, 103, 0, 1000}) {
    for (const bool shuffle : {false, true}) {
      Linear linear;
      FitOptions options;
      options.epochs = 5;
      options.batch_size = batch;
      options.shuffle = shuffle;
      options.seed = 11;
      const train::FitResult result =
          train::fit(linear.model(), data, Sgd{.learning_rate = 0.05}, options);
      ByHand hand;
      const std::int64_t size = batch == 0 ? n : std::min(batch, n);
      for (std::int64_t epoch = 0; epoch < 5; ++epoch) {
        std::vector<std::int64_t> order = in_order(n);
        if (shuffle && size < n) {
          const Tensor shuffled = data::permutation(n, 11, static_cast<std::uint64_t>(epoch));
          for (std::int64_t i = 0; i < n; ++i)
            order[static_cast<std::size_t>(i)] = static_cast<std::int64_t>(shuffled.at(i));
        }
        hand.epoch(data, order, size, 0.05);
      }
      const std::string what = "batch " + std::to_string(batch) + (shuffle ? " shuffled" : "");
      BOOST_TEST(std::abs(linear.w.value().at(0) - hand.w0) < 1e-12, what);
      BOOST_TEST(std::abs(linear.w.value().at(1) - hand.w1) < 1e-12, what);
      BOOST_TEST(std::abs(linear.b.value().at(0) - hand.b) < 1e-12, what);
      BOOST_TEST(result.epochs == 5);
      BOOST_TEST(result.updates == 5 * ((n + size - 1) / size), what);
      BOOST_TEST((result.end == FitEnd::all_epochs));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_second_fit_with_the_optimizer_goes_on_with_schedule_and_slots) {
  const data::Dataset data = rows_of(40);
  FitOptions options;
  options.batch_size = 8;
  options.shuffle = false;
  const auto trained = [&](const std::vector<std::int64_t>& parts) {
    Linear linear;
    Optimizer optimizer(Adam{});
    optimizer.learning_rate = exponential_schedule(0.1, 0.9);
    for (const std::int64_t epochs : parts) {
      options.epochs = epochs;
      const train::FitResult result = train::fit(linear.model(), data, optimizer, options);
      BOOST_TEST(result.updates == 5 * epochs);  // counted for each fit
    }
    BOOST_TEST(static_cast<double>(optimizer.learning_rate) == 0.1 * std::pow(0.9, 24),
               boost::test_tools::tolerance(1e-12));
    return linear.w.value();
  };
  BOOST_TEST(same_bits(trained({2, 3}), trained({5})));
}

BOOST_AUTO_TEST_CASE(a_penalty_counts_once_per_update_whatever_the_batch) {
  const data::Dataset data = rows_of(103);
  for (const std::int64_t batch : {10, 103}) {
    Linear linear;
    linear.decay = 0.3;
    FitOptions options;
    options.epochs = 3;
    options.batch_size = batch;
    options.shuffle = false;
    const train::FitResult result =
        train::fit(linear.model(), data, Sgd{.learning_rate = 0.05}, options);
    ByHand hand;
    hand.decay = 0.3;
    for (int epoch = 0; epoch < 3; ++epoch) hand.epoch(data, in_order(103), batch, 0.05);
    BOOST_TEST(std::abs(linear.w.value().at(0) - hand.w0) < 1e-12);
    const double expected = train::evaluate(linear.model(), data).loss;
    BOOST_TEST(std::abs(train::evaluate(linear.model(), data, 10).loss - expected) < 1e-12);
    BOOST_TEST(std::isfinite(result.history.back().training.loss));
  }
}

BOOST_AUTO_TEST_CASE(averages_are_those_of_all_rows_for_every_split) {
  const data::Dataset data = rows_of(103);
  Linear linear;
  linear.w.set_value(tensor({0.4, -0.1}, {2, 1}));
  double loss = 0, absolute = 0;
  for (int i = 0; i < 103; ++i) {
    const double e = 0.4 * data["x"].at(2 * i) - 0.1 * data["x"].at(2 * i + 1) - data["t"].at(i);
    loss += e * e / 103;
    absolute += std::abs(e) / 103;
  }
  for (const std::int64_t batch : {0, 1, 10, 50, 103, 200}) {
    const train::Averages averages = train::evaluate(linear.model(), data, batch);
    BOOST_TEST(std::abs(averages.loss - loss) < 1e-12);
    BOOST_TEST(averages.metrics.size() == 1);
    BOOST_TEST(averages.metrics[0].first == "absolute");
    BOOST_TEST(std::abs(averages.metrics[0].second - absolute) < 1e-12);
  }
  // With a rate of 0 the parameters rest, so the training curve shows the same numbers.
  FitOptions options;
  options.epochs = 2;
  options.batch_size = 10;
  const train::FitResult result =
      train::fit(linear.model(), data, Sgd{.learning_rate = 0}, options);
  BOOST_TEST(result.history.size() == 2);
  for (const train::Record& record : result.history) {
    BOOST_TEST(std::abs(record.training.loss - loss) < 1e-12);
    BOOST_TEST(std::abs(record.training.metrics[0].second - absolute) < 1e-12);
  }
}

BOOST_AUTO_TEST_CASE(equal_seeds_give_equal_bits_for_every_number_of_threads) {
  const data::Dataset data = rows_of(103);
  const auto train_once = [&](std::uint64_t seed, int threads) {
    Linear linear;
    FitOptions options;
    options.epochs = 4;
    options.batch_size = 8;
    options.seed = seed;
    options.compile.threads = threads;
    train::fit(linear.model(), data, Sgd{.learning_rate = 0.05, .momentum = 0.9}, options);
    return linear.w.value();
  };
  const Tensor first = train_once(1, 1);
  BOOST_TEST(same_bits(first, train_once(1, 1)));
  BOOST_TEST(same_bits(first, train_once(1, 3)));
  BOOST_TEST(!same_bits(first, train_once(2, 1)));
}

BOOST_AUTO_TEST_CASE(training_goes_on_with_the_same_optimizer) {
  const data::Dataset data = rows_of(20);
  FitOptions options;
  options.batch_size = 0;
  Linear once, twice;
  options.epochs = 10;
  Optimizer a(Sgd{.learning_rate = 0.05, .momentum = 0.9});
  train::fit(once.model(), data, a, options);
  options.epochs = 5;
  Optimizer b(Sgd{.learning_rate = 0.05, .momentum = 0.9});
  train::fit(twice.model(), data, b, options);
  train::fit(twice.model(), data, b, options);
  BOOST_TEST(same_bits(once.w.value(), twice.w.value()));
}

BOOST_AUTO_TEST_CASE(a_stop_token_ends_training_after_the_current_update) {
  const data::Dataset data = rows_of(20);
  Linear linear;
  StopToken stop;
  FitOptions options;
  options.epochs = 1000000;
  options.batch_size = 4;
  options.stop = &stop;
  options.on_progress = [&](const train::Progress& p) {
    if (p.updates > 0) stop.request_stop();
  };
  const train::FitResult result =
      train::fit(linear.model(), data, Sgd{.learning_rate = 0.01}, options);
  BOOST_TEST((result.end == FitEnd::stopped));
  BOOST_TEST(result.updates > 0);
  BOOST_TEST(result.epochs < 1000000);
  BOOST_TEST(result.history.back().updates == result.updates);
}

BOOST_AUTO_TEST_CASE(progress_is_told_within_an_epoch_and_changes_no_bit) {
  const data::Dataset data = rows_of(203);
  Linear told, quiet;
  std::vector<train::Progress> reports;
  FitOptions options;
  options.epochs = 2;
  options.batch_size = 4;
  train::fit(quiet.model(), data, Sgd{.learning_rate = 0.1}, options);
  options.on_progress = [&](const train::Progress& p) { reports.push_back(p); };
  train::fit(told.model(), data, Sgd{.learning_rate = 0.1}, options);
  BOOST_TEST(reports.front().epoch == 0);
  BOOST_TEST(reports.front().updates == 1);
  BOOST_TEST(reports.back().epoch == 2);
  BOOST_TEST(reports.back().updates == 102);
  BOOST_TEST(same_bits(told.w.value(), quiet.w.value()));
}

BOOST_AUTO_TEST_CASE(a_tolerance_ends_training_where_parameters_rest) {
  const data::Dataset data = rows_of(20);
  Linear linear;
  FitOptions options;
  options.epochs = 1000000;
  options.batch_size = 0;
  options.tolerance = 1e-12;
  const train::FitResult result =
      train::fit(linear.model(), data, Sgd{.learning_rate = 0.3}, options);
  BOOST_TEST((result.end == FitEnd::converged));
  BOOST_TEST(result.epochs < 100000);
  BOOST_TEST(result.history.back().epoch == result.epochs);
}

BOOST_AUTO_TEST_CASE(validation_is_measured_at_each_record) {
  const data::Dataset data = rows_of(20), other = rows_of(7);
  Linear linear;
  FitOptions options;
  options.epochs = 3;
  options.validation = &other;
  const train::FitResult result =
      train::fit(linear.model(), data, Sgd{.learning_rate = 0.1}, options);
  BOOST_TEST(result.history.size() == 3);
  BOOST_TEST(result.history.back().validation.size() == 1);
  BOOST_TEST(result.history.back().validation[0].loss ==
             train::evaluate(linear.model(), other).loss);
}

BOOST_AUTO_TEST_CASE(every_recipe_trains) {
  const data::Dataset data = rows_of(103);
  const auto loss_after = [&](const auto& recipe) {
    Linear linear;
    FitOptions options;
    options.epochs = 60;
    return train::fit(linear.model(), data, recipe, options).history.back().training.loss;
  };
  BOOST_TEST(loss_after(Sgd{.learning_rate = 0.05, .momentum = 0.9}) < 0.006);
  BOOST_TEST(loss_after(Adam{.learning_rate = 0.05}) < 0.006);
  BOOST_TEST(loss_after(AdamW{.learning_rate = 0.05, .weight_decay = 1e-4}) < 0.006);
  BOOST_TEST(loss_after(RmsProp{}) < 0.006);
  BOOST_TEST(loss_after(Adagrad{.learning_rate = 0.5}) < 0.006);
}

BOOST_AUTO_TEST_CASE(no_epochs_change_nothing) {
  const data::Dataset data = rows_of(20);
  Linear linear;
  FitOptions options;
  options.epochs = 0;
  const train::FitResult result = train::fit(linear.model(), data, Sgd{}, options);
  BOOST_TEST(result.updates == 0);
  BOOST_TEST(linear.w.value().at(0) == 0);
}

BOOST_AUTO_TEST_SUITE_END()
