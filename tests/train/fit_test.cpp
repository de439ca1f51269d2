// The training loop: batches, shuffles, exact averages, divergence, stops, and saving.
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>

#include "blockgrad/blockgrad.h"
#include "blockgrad/graph/stored.h"

using namespace blockgrad;
using train::FitEnd;
using train::FitOptions;

namespace {

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.type() == b.type() &&
         std::memcmp(a.bytes(), b.bytes(), static_cast<std::size_t>(bytes_of(a.type()))) == 0;
}

// n rows of two columns and a target that is not quite linear.
data::Dataset rows_of(std::int64_t n) {
  std::vector<double> x, t;
  for (std::int64_t i = 0; i < n; ++i) {
    const double a = std::sin(0.7 * static_cast<double>(i)),
                 b = std::cos(1.3 * static_cast<double>(i) + 0.2);
    x.insert(x.end(), {a, b});
    t.push_back(1.25 * a - 0.5 * b + 0.3 + 0.1 * std::sin(9.0 * static_cast<double>(i)));
  }
  return {{"x", tensor(std::span<const double>(x), {n, 2})},
          {"t", tensor(std::span<const double>(t), {n, 1})}};
}

struct Linear {
  Expr w = parameter(zeros({2, 1}, DType::f64), "w"), b = parameter(zeros({1}, DType::f64), "b");
  double decay = 0;

  train::Model model() const {
    return [this](train::Inputs& in) {
      Loss loss = mse_loss(matmul(in["x"], w) + b, in["t"]);
      if (decay > 0) loss = loss + penalty(decay * sum(square(w)));
      return train::Outcome(loss, {{"absolute", l1_loss(matmul(in["x"], w) + b, in["t"])}});
    };
  }
};

// The same descent by hand: rows `order` in batches, mean gradient of each batch.
struct ByHand {
  double w0 = 0, w1 = 0, b = 0, decay = 0;

  void epoch(const data::Dataset& data, const std::vector<std::int64_t>& order, std::int64_t batch,
             double rate) {
    const auto n = static_cast<std::int64_t>(order.size());
    for (std::int64_t first = 0; first < n; first += batch) {
      const std::int64_t last = std::min(first + batch, n);
      double g0 = 0, g1 = 0, gb = 0;
      for (std::int64_t k = first; k < last; ++k) {
        const std::int64_t i = order[static_cast<std::size_t>(k)];
        const double x0 = data["x"].at(2 * i), x1 = data["x"].at(2 * i + 1);
        const double e = 2 * (w0 * x0 + w1 * x1 + b - data["t"].at(i));
        g0 += e * x0;
        g1 += e * x1;
        gb += e;
      }
      const double m = static_cast<double>(last - first);
      w0 -= rate * (g0 / m + 2 * decay * w0);
      w1 -= rate * (g1 / m + 2 * decay * w1);
      b -= rate * gb / m;
    }
  }
};

std::vector<std::int64_t> in_order(std::int64_t n) {
  std::vector<std::int64_t> order;
  for (std::int64_t i = 0; i < n; ++i) order.push_back(i);
  return order;
}

std::string temporary_file() {
  return (std::filesystem::temp_directory_path() /
          ("blockgrad-fit-" + std::to_string(::getpid()) + ".safetensors"))
      .string();
}

}  // namespace

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

BOOST_AUTO_TEST_CASE(divergence_stops_at_its_update_and_names_the_node) {
  for (const std::int64_t batch : {0, 1, 8}) {
    for (const bool shuffle : {false, true}) {
      const data::Dataset data = rows_of(20);
      Linear linear;
      const train::Model wild = [&](train::Inputs& in) {
        return mse_loss(exp(matmul(in["x"], linear.w) * 40.0), in["t"]);
      };
      linear.w.set_value(tensor({1.0, 1.0}, {2, 1}));
      FitOptions options;
      options.epochs = 1000;
      options.batch_size = batch;
      options.shuffle = shuffle;
      try {
        train::fit(wild, data, Sgd{.learning_rate = 1e3}, options);
        BOOST_TEST(false, "batch " << batch << " did not diverge");
      } catch (const train::DivergenceError& error) {
        const std::string text = error.what();
        BOOST_TEST(contains(text, "training diverged at update " + std::to_string(error.update()) +
                                      " (epoch "),
                   text);
        BOOST_TEST(error.update() >= 1);
        BOOST_TEST(contains(text, "the first value that is not finite"), text);
        BOOST_TEST(contains(text, "fit_test.cpp:"), text);
        BOOST_TEST(contains(text, "the parameters are as before that update"), text);
        BOOST_TEST(std::isfinite(linear.w.value().at(0)));
        BOOST_TEST(std::isfinite(linear.w.value().at(1)));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(the_update_that_diverged_is_counted_exactly) {
  // Row 13 alone holds an infinity: with batches of one the fourteenth update fails, and the
  // thirteen before it stay.
  std::vector<double> x(40, 0.1), t(20, 1.0);
  x[26] = std::numeric_limits<double>::infinity();
  const data::Dataset data{{"x", tensor(std::span<const double>(x), {20, 2})},
                           {"t", tensor(std::span<const double>(t), {20, 1})}};
  const data::Dataset before = data.rows(0, 13);
  FitOptions options;
  options.epochs = 1;
  options.batch_size = 1;
  options.shuffle = false;
  Linear reference, linear;
  train::fit(reference.model(), before, Sgd{.learning_rate = 0.1}, options);
  options.epochs = 3;
  try {
    train::fit(linear.model(), data, Sgd{.learning_rate = 0.1}, options);
    BOOST_TEST(false);
  } catch (const train::DivergenceError& error) {
    BOOST_TEST(error.update() == 14);
    BOOST_TEST(contains(error.what(), "(epoch 1, batch 14)"), error.what());
  }
  BOOST_TEST(same_bits(reference.w.value(), linear.w.value()));
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

BOOST_AUTO_TEST_CASE(mistakes_are_named_before_anything_is_trained) {
  const data::Dataset data = rows_of(20);
  Linear linear;
  const auto text = [&](const train::Model& model, const FitOptions& options = {}) {
    return error_of([&] { train::fit(model, data, Sgd{}, options); });
  };
  FitOptions wrong;
  wrong.epochs = -1;
  BOOST_TEST(contains(text(linear.model(), wrong), "epochs must not be negative, got -1"));
  wrong = {};
  wrong.batch_size = -2;
  BOOST_TEST(contains(text(linear.model(), wrong), "batch_size must not be negative, got -2"));
  wrong = {};
  wrong.tolerance = -1;
  BOOST_TEST(contains(text(linear.model(), wrong), "tolerance must not be negative, got -1"));
  wrong = {};
  wrong.accumulate = 0;
  BOOST_TEST(contains(text(linear.model(), wrong), "accumulate must be at least 1, got 0"));
  wrong = {};
  wrong.clip_norm = 0;
  BOOST_TEST(contains(text(linear.model(), wrong), "clip_norm must be above 0, got 0"));
  BOOST_TEST(contains(text([](train::Inputs& in) { return mse_loss(in["y"], in["t"]); }),
                      "the data has no column 'y'; it has x, t"));
  BOOST_TEST(contains(text([](train::Inputs& in) {
                        const Expr inside = parameter(zeros({2, 1}, DType::f64), "inside");
                        return mse_loss(matmul(in["x"], inside), in["t"]);
                      }),
                      "is made inside the model function"));
  BOOST_TEST(contains(text([](train::Inputs& in) { return mse_loss(in["t"], in["t"]); }),
                      "the loss depends on no parameter"));
  BOOST_TEST(contains(error_of([&] { train::fit(linear.model(), data.rows(3, 3), Sgd{}); }),
                      "the data has no rows"));
  BOOST_TEST(contains(error_of([&] { train::evaluate(linear.model(), data.rows(3, 3)); }),
                      "the data has no rows"));
}

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

BOOST_AUTO_TEST_CASE(a_fit_that_cannot_be_built_leaves_the_optimizer) {
  const data::Dataset data = rows_of(20);
  Linear linear;
  Optimizer optimizer(Sgd{.momentum = 0.5});
  const train::Model uneven = [&](train::Inputs& in) {
    require(in.batch_size() != 4, "not for four rows");
    return mse_loss(matmul(in["x"], linear.w), in["t"]);
  };
  FitOptions options;
  options.batch_size = 8;
  options.accumulate = 2;
  BOOST_TEST(error_of([&] { train::fit(uneven, data, optimizer, options); }) ==
             "not for four rows");
  BOOST_TEST(optimizer.states().size() == 3);
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

BOOST_AUTO_TEST_CASE(what_is_saved_is_loaded_bit_for_bit) {
  const std::string file = temporary_file();
  const data::Dataset data = rows_of(20);
  Linear linear, other;
  Optimizer a(Sgd{.learning_rate = 0.05, .momentum = 0.9}),
      b(Sgd{.learning_rate = 0.01, .momentum = 0.1});
  FitOptions options;
  options.epochs = 4;
  options.batch_size = 0;
  train::fit(linear.model(), data, a, options);
  std::vector<Expr> leaves = a.states();
  leaves.insert(leaves.end(), {linear.w, linear.b});
  train::save(file, leaves);

  options.epochs = 0;
  train::fit(other.model(), data, b, options);  // makes the slots
  std::vector<Expr> targets = b.states();
  targets.insert(targets.end(), {other.w, other.b});
  train::load(file, targets);
  options.epochs = 3;
  train::fit(linear.model(), data, a, options);
  train::fit(other.model(), data, b, options);
  BOOST_TEST(same_bits(linear.w.value(), other.w.value()));
  BOOST_TEST(double(b.learning_rate) == 0.05);
  std::filesystem::remove(file);
}

BOOST_AUTO_TEST_CASE(a_load_that_does_not_fit_lists_everything_and_changes_nothing) {
  const std::string file = temporary_file();
  const Expr a = parameter(ones({2}), "a"), b = parameter(ones({3}), "b"),
             extra = state(ones({}), "extra"), extra2 = state(ones({}), "extra2");
  train::save(file, {a, b, extra, extra2});
  const Expr a2 = parameter(zeros({2}), "a"), b2 = parameter(zeros({3, 1}), "b"),
             c = parameter(zeros({4}), "c"), d = parameter(zeros({}, DType::f64), "d");
  const std::string text = error_of([&] { train::load(file, {a2, b2, c, d}); });
  BOOST_TEST(contains(text, "does not fit; nothing was loaded:"), text);
  BOOST_TEST(contains(text, "'b' is f32[3], expected f32[3, 1]"), text);
  BOOST_TEST(contains(text, "'c' is missing"), text);
  BOOST_TEST(contains(text, "'d' is missing"), text);
  BOOST_TEST(contains(text, "'extra' is not asked for"), text);
  BOOST_TEST(contains(text, "'extra2' is not asked for"), text);
  BOOST_TEST(a2.value().at(0) == 0);
  BOOST_TEST(contains(error_of([&] { train::load(file + ".none", {a2}); }), ".none"));
  std::ofstream(file, std::ios::trunc) << "not a tensor file";
  BOOST_TEST(error_of([&] { train::load(file, {a2}); }) != "no error");
  BOOST_TEST(a2.value().at(0) == 0);
  BOOST_TEST(contains(error_of([&] { train::save(file, {a + 1.0}); }),
                      "only parameters and states can be saved and loaded"));
  BOOST_TEST(contains(error_of([&] { train::save(file, {a, a2}); }), "a"));
  std::filesystem::remove(file);
}

BOOST_AUTO_TEST_CASE(a_load_that_a_setting_refuses_changes_nothing) {
  const std::string file = temporary_file();
  const Expr w = parameter(ones({2}), "w");
  Optimizer decaying(Sgd{.learning_rate = 0.5, .weight_decay = 0.5}), plain(Sgd{});
  train::save(file, decaying.states());
  minimize(plain, {sum(w), constant(ones({})), {}});
  BOOST_TEST(contains(error_of([&] { train::load(file, plain.states()); }),
                      "'optimizer.weight_decay': it was 0 when a step was built"));
  BOOST_TEST(double(plain.learning_rate) == 0.01);
  std::filesystem::remove(file);
}

BOOST_AUTO_TEST_CASE(a_load_while_a_leaf_is_in_use_changes_nothing) {
  const std::string file = temporary_file();
  const Expr a = parameter(ones({2}), "a"), b = parameter(ones({3}), "b");
  train::save(file, {a, b});
  a.set_value(zeros({2}));
  b.set_value(zeros({3}));
  const auto storage = stored(b);
  BOOST_TEST_REQUIRE(storage->lock_shared());
  BOOST_TEST(contains(error_of([&] { train::load(file, {a, b}); }), "'b' is in use"));
  storage->unlock_shared();
  BOOST_TEST(a.value().at(0) == 0);
  std::filesystem::remove(file);
}

BOOST_AUTO_TEST_SUITE_END()
