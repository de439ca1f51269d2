// What goes wrong in training: mistakes are named first, divergence at its update.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "tests/train/support.h"

using namespace blockgrad;
using namespace fit_support;
using train::FitOptions;

BOOST_AUTO_TEST_SUITE(fit_errors)

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
        BOOST_TEST(contains(text, "fit_errors_test.cpp:"), text);
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

BOOST_AUTO_TEST_CASE(a_value_of_the_data_that_is_not_finite_is_named_by_row_and_column) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor x = tensor({1.0, 2.0, 3.0, 4.0, 5.0, nan, 7.0, 8.0}, {4, 2});
  const data::Dataset data{{"x", x}, {"t", zeros({4, 1}, DType::f64)}};
  for (const bool shuffle : {false, true}) {
    Linear linear;
    FitOptions options;
    options.batch_size = 1;
    options.shuffle = shuffle;
    const std::string text =
        error_of([&] { train::fit(linear.model(), data, Sgd{.learning_rate = 0.01}, options); });
    BOOST_TEST(contains(text, "training diverged at update "), text);
    BOOST_TEST(
        contains(text,
                 "; row 2 (of rows from 0) of column 'x' holds nan: leave such rows out, or fill "
                 "them in, if the model reads them; else a smaller learning rate"),
        text);
  }
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
  const int line = __LINE__ + 1;
  const auto unknown = [](train::Inputs& in) { return mse_loss(in["y"], in["t"]); };
  BOOST_TEST(contains(text(unknown), "fit_errors_test.cpp:" + std::to_string(line) +
                                         ": the data has no column 'y'; it has x, t"));
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

BOOST_AUTO_TEST_SUITE_END()
