// Batches in pieces: the update is that of the whole batch.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "tests/train/support.h"
#include "train/pieces.h"

using namespace blockgrad;
using namespace fit_support;
using train::FitEnd;
using train::FitOptions;

namespace {

// Two layers, weights of samples, and a penalty.
struct Net {
  Expr w0 = parameter({2, 5}, xavier_uniform(), "w0", 7, DType::f64),
       w1 = parameter({5, 1}, xavier_uniform(), "w1", 7, DType::f64),
       b = parameter(zeros({5}, DType::f64), "b");

  train::Model model() const {
    return [this](train::Inputs& in) {
      const Expr y = matmul(tanh(matmul(in["x"], w0) + b), w1);
      const Expr weights = square(in["t"]) + 0.1;
      const Loss loss = mse_loss(y, in["t"], weights) + penalty(0.01 * sum(square(w0)));
      return train::Outcome(loss, {{"absolute", l1_loss(y, in["t"])}});
    };
  }
  std::vector<Tensor> values() const { return {w0.value(), w1.value(), b.value()}; }
};

// Of all elements, relative to the largest element of their tensor.
double largest_difference(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  double largest = 0;
  for (std::size_t p = 0; p < a.size(); ++p) {
    double size = 0, difference = 0;
    for (std::int64_t i = 0; i < a[p].size(); ++i) {
      size = std::max(size, std::abs(a[p].at(i)));
      difference = std::max(difference, std::abs(a[p].at(i) - b[p].at(i)));
    }
    largest = std::max(largest, difference / size);
  }
  return largest;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(micro_batch)

BOOST_AUTO_TEST_CASE(every_row_is_in_one_piece_and_pieces_end_with_their_batch) {
  for (const std::int64_t rows : {1, 7, 20, 23}) {
    for (const std::int64_t batch : {1, 4, 10, 23}) {
      for (const std::int64_t piece : {1, 3, 4, 10}) {
        if (piece > batch) continue;
        const std::vector<train::Piece> pieces = train::pieces_of(rows, batch, piece);
        std::int64_t at = 0, ends = 0;
        for (const train::Piece& p : pieces) {
          BOOST_TEST(p.first == at);
          BOOST_TEST(p.rows() >= 1);
          BOOST_TEST(p.rows() <= piece);
          BOOST_TEST(p.batch == p.first / batch);
          BOOST_TEST(p.batch == (p.last - 1) / batch);
          BOOST_TEST(p.ends_batch == (p.last % batch == 0 || p.last == rows));
          BOOST_TEST((p.rows() == piece || p.ends_batch));
          at = p.last;
          ends += p.ends_batch;
        }
        BOOST_TEST(at == rows);
        BOOST_TEST(ends == (rows - 1) / batch + 1);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(pieces_of_a_batch_make_the_update_of_the_batch) {
  const data::Dataset data = rows_of(103);
  for (const bool shuffle : {false, true}) {
    for (const std::int64_t batch : {20, 103}) {
      for (const std::int64_t micro : {1, 5, 7, 19, 20}) {
        for (const std::int64_t accumulate : {1, 2}) {
          const auto fitted = [&](std::int64_t pieces, train::FitResult& result) {
            Net net;
            FitOptions options;
            options.epochs = 3;
            options.batch_size = batch;
            options.micro_batch = pieces;
            options.shuffle = shuffle;
            options.accumulate = accumulate;
            options.clip_norm = 0.5;
            Optimizer optimizer(Sgd{.learning_rate = 0.05, .momentum = 0.9, .weight_decay = 0.01});
            optimizer.learning_rate = cosine_schedule(0.05, 0.001, 40);
            result = train::fit(net.model(), data, optimizer, options);
            return net.values();
          };
          train::FitResult whole, split;
          const std::vector<Tensor> expected = fitted(0, whole), got = fitted(micro, split);
          const std::string what = "batch " + std::to_string(batch) + " in pieces of " +
                                   std::to_string(micro) + ", " + std::to_string(accumulate) +
                                   " batches an update" + (shuffle ? ", shuffled" : "");
          BOOST_TEST(largest_difference(expected, got) < 1e-12,
                     what << ": " << largest_difference(expected, got));
          BOOST_TEST(split.updates == whole.updates, what);
          const train::Averages &a = whole.history.back().training,
                                &b = split.history.back().training;
          BOOST_TEST(std::abs(a.loss - b.loss) < 1e-12 * a.loss, what);
          BOOST_TEST(std::abs(a.metrics[0].second - b.metrics[0].second) < 1e-12, what);
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(an_update_that_divides_by_the_size_of_gradients_is_the_same_too) {
  const data::Dataset data = rows_of(103);
  for (const std::int64_t micro : {1, 10, 52}) {
    const auto fitted = [&](std::int64_t pieces) {
      Net net;
      FitOptions options;
      options.epochs = 1;
      options.batch_size = 0;
      options.micro_batch = pieces;
      train::fit(net.model(), data, AdamW{.learning_rate = 0.05}, options);
      return net.values();
    };
    BOOST_TEST(largest_difference(fitted(0), fitted(micro)) < 1e-12, "pieces of " << micro);
  }
}

BOOST_AUTO_TEST_CASE(pieces_as_large_as_the_batch_change_no_bit) {
  const data::Dataset data = rows_of(50);
  Net whole, same;
  FitOptions options;
  options.batch_size = 20;
  train::fit(whole.model(), data, Adam{}, options);
  options.micro_batch = 1000;
  train::fit(same.model(), data, Adam{}, options);
  BOOST_TEST(same_bits(whole.w0.value(), same.w0.value()));
}

BOOST_AUTO_TEST_CASE(an_embedding_of_which_pieces_touch_some_rows_trains_alike) {
  std::vector<std::int32_t> words;
  std::vector<double> targets;
  for (int i = 0; i < 60; ++i) {
    words.push_back((i * 7) % 30);
    targets.push_back(std::sin(i));
  }
  const data::Dataset data{{"word", tensor(std::span<const std::int32_t>(words), {60})},
                           {"t", tensor(std::span<const double>(targets), {60, 1})}};
  const auto fitted = [&](std::int64_t micro) {
    const Expr table = parameter({40, 3}, normal_initial(0, 1), "table", 3, DType::f64);
    const Expr w = parameter(ones({3, 1}, DType::f64), "w");
    FitOptions options;
    options.batch_size = 20;
    options.micro_batch = micro;
    train::fit(
        [&](train::Inputs& in) {
          return mse_loss(matmul(embedding(table, in["word"]), w), in["t"]);
        },
        data, Adagrad{.learning_rate = 0.1}, options);
    return std::vector<Tensor>{table.value(), w.value()};
  };
  BOOST_TEST(largest_difference(fitted(0), fitted(6)) < 1e-12);
}

BOOST_AUTO_TEST_CASE(every_piece_draws_masks_of_its_own_the_same_in_every_fit) {
  const data::Dataset data = rows_of(64);
  const auto fitted = [&](std::int64_t micro) {
    Net net;
    const train::Model model = [&](train::Inputs& in) {
      const Expr hidden = dropout(tanh(matmul(in["x"], net.w0)), 0.5, in);
      return mse_loss(matmul(hidden, net.w1), in["t"]);
    };
    FitOptions options;
    options.batch_size = 32;
    options.micro_batch = micro;
    options.epochs = 2;
    train::fit(model, data, Sgd{.learning_rate = 0.1}, options);
    return net.values();
  };
  BOOST_TEST(same_bits(fitted(8)[0], fitted(8)[0]));
  BOOST_TEST(largest_difference(fitted(8), fitted(0)) > 1e-6);
}

BOOST_AUTO_TEST_CASE(a_stop_never_tears_a_batch) {
  const data::Dataset data = rows_of(40);
  for (const bool shuffle : {false, true}) {
    Net stopped, whole;
    StopToken stop;
    FitOptions options;
    options.epochs = 100000;
    options.batch_size = 20;
    options.micro_batch = 3;
    options.shuffle = shuffle;
    options.stop = &stop;
    options.on_progress = [&](const train::Progress& p) {
      if (p.seconds > 0.02) stop.request_stop();
    };
    Optimizer optimizer(Sgd{.learning_rate = 0.01});
    const train::FitResult result = train::fit(stopped.model(), data, optimizer, options);
    BOOST_TEST((result.end == FitEnd::stopped));
    // Nothing of a half batch is left to be added to the next.
    int sums = 0;
    for (const Expr& state : optimizer.states()) {
      if (leaf_name(state) != "optimizer.accumulated_weight") continue;
      ++sums;
      BOOST_TEST(state.value().at(0) == 0);
    }
    BOOST_TEST(sums == 1);
    options.stop = nullptr;
    options.on_progress = {};
    options.epochs = (result.updates + 1) / 2;
    const train::FitResult again =
        train::fit(whole.model(), data, Sgd{.learning_rate = 0.01}, options);
    BOOST_TEST(again.updates - result.updates <= 1);
    if (again.updates == result.updates)
      BOOST_TEST(same_bits(stopped.w0.value(), whole.w0.value()));
  }
}

BOOST_AUTO_TEST_CASE(divergence_names_batch_and_rows_of_the_piece) {
  std::vector<double> x(80, 0.1), t(40, 1.0);
  x[2 * 33] = std::numeric_limits<double>::infinity();
  const data::Dataset data{{"x", tensor(std::span<const double>(x), {40, 2})},
                           {"t", tensor(std::span<const double>(t), {40, 1})}};
  Linear linear;
  FitOptions options;
  options.epochs = 1;
  options.batch_size = 20;
  options.micro_batch = 6;
  options.shuffle = false;
  const std::string text = error_of([&] { train::fit(linear.model(), data, Sgd{}, options); });
  BOOST_TEST(contains(text, "training diverged at update 2 (epoch 1, batch 2, its rows 12 to 17)"),
             text);
}

BOOST_AUTO_TEST_CASE(norms_over_the_batch_are_refused_others_are_not) {
  const data::Dataset data = rows_of(40);
  const Expr gain = parameter(ones({2}, DType::f64), "gain"),
             shift = parameter(zeros({2}, DType::f64), "shift");
  BatchStats stats{state(zeros({2}, DType::f64), "mean"), state(ones({2}, DType::f64), "variance")};
  const Expr seen = state(zeros({}, DType::f64), "seen");
  FitOptions options;
  options.batch_size = 20;
  options.micro_batch = 5;
  options.epochs = 1;
  const auto text = [&](const std::function<Expr(train::Inputs&)>& layer) {
    return error_of([&] {
      train::fit([&](train::Inputs& in) { return mse_loss(sum(layer(in), 1, true), in["t"]); },
                 data, Sgd{}, options);
    });
  };
  const std::string why = ", so pieces of a batch would train differently from the batch";
  const std::string own =
      text([&](auto& in) { return batch_norm(in["x"], gain, shift, stats, in); });
  BOOST_TEST(contains(own, "micro_batch: batch_norm"), own);
  BOOST_TEST(contains(own, "fit at micro_batch_test.cpp:"), own);
  BOOST_TEST(contains(own, " takes its statistics from all rows of a batch" + why), own);
  const std::string plain =
      text([&](auto& in) { return batch_norm_training(in["x"], gain, shift).y; });
  BOOST_TEST(contains(plain, " takes its statistics from all rows of a batch" + why), plain);
  const std::string counted = text([&](train::Inputs& in) {
    in.updates().set(seen, seen + 1.0);
    return in["x"] * gain;
  });
  BOOST_TEST(contains(counted, "'seen'"), counted);
  BOOST_TEST(contains(counted, " is a state that its layer changes with every batch" + why),
             counted);
  BOOST_TEST(text([&](auto& in) { return layer_norm(in["x"], gain, shift); }) == "no error");
  options.micro_batch = 0;
  BOOST_TEST(text([&](auto& in) { return batch_norm(in["x"], gain, shift, stats, in); }) ==
             "no error");
  options.micro_batch = -1;
  BOOST_TEST(contains(text([&](auto& in) { return in["x"] * gain; }),
                      "micro_batch must not be negative, got -1"));
}

BOOST_AUTO_TEST_SUITE_END()
