// Accumulation: one update of several batches.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "tests/optim/weighted.h"

using namespace blockgrad;
using namespace by_hand;

namespace {

constexpr double infinite = std::numeric_limits<double>::infinity();

}  // namespace

BOOST_AUTO_TEST_SUITE(accumulate)

// The heart of accumulation: one update of k batches is the update of their rows in one batch.
BOOST_AUTO_TEST_CASE(every_split_of_103_samples_gives_the_gradient_of_all) {
  for (const bool has_penalty : {false, true}) {
    Weighted whole;
    {
      Optimizer optimizer(Sgd{.learning_rate = 1});
      const Weighted::Step step = whole.step(103, has_penalty);
      compile({}, minimize(optimizer, step.loss)).run(feeds_of(step, 0, 103));
    }
    for (std::size_t size = 1; size <= 103; ++size) {
      Weighted parts;
      const std::size_t rest = 103 % size, batches = (103 + size - 1) / size;
      const MinimizeOptions options{.accumulate = static_cast<std::int64_t>(batches)};
      Optimizer optimizer(Sgd{.learning_rate = 1});
      const Weighted::Step step = parts.step(static_cast<std::int64_t>(size), has_penalty);
      const Weighted::Step last = parts.step(static_cast<std::int64_t>(rest), has_penalty);
      Program program = compile({}, minimize(optimizer, step.loss, options));
      for (std::size_t first = 0; first + size <= 103; first += size) {
        BOOST_TEST_REQUIRE(parts.w.value().at(0) == 0.5);  // nothing moves before the last batch
        program.run(feeds_of(step, first, size));
      }
      if (rest > 0)
        compile({}, minimize(optimizer, last.loss, options)).run(feeds_of(last, 103 - rest, rest));
      for (std::int64_t i = 0; i < 3; ++i) {
        const double expected = whole.w.value().at(i), now = parts.w.value().at(i);
        BOOST_TEST_REQUIRE(std::abs(now - expected) < 1e-13 * std::max(1.0, std::abs(expected)),
                           "batches of " << size << ": " << now << " instead of " << expected);
      }
      BOOST_TEST(std::abs(parts.b.value().at(0) - whole.b.value().at(0)) < 1e-13);
    }
  }
}

BOOST_AUTO_TEST_CASE(accumulated_and_clipped_training_follows_the_recurrence) {
  Expr w = parameter(tensor({1.0, -2.0, 3.0}, {3, 1}), "w");
  const Expr x8 = input("x8", {8, 3}, DType::f64), t8 = input("t8", {8, 1}, DType::f64);
  const Expr x5 = input("x5", {5, 3}, DType::f64), t5 = input("t5", {5, 1}, DType::f64);
  const Sgd rule{.learning_rate = 0.1, .momentum = 0.9, .nesterov = true, .weight_decay = 0.01};
  const MinimizeOptions options{.accumulate = 3, .clip_norm = 0.5};
  Optimizer optimizer(rule);
  Program full = compile({}, minimize(optimizer, mse_loss(matmul(x8, w), t8), options));
  Program rest = compile({}, minimize(optimizer, mse_loss(matmul(x5, w), t5), options));
  ByHand hand;
  for (std::size_t n = 0; n < 100; ++n) {
    full.run({{x8, rows_of_x(0, 8)}, {t8, rows_of_t(0, 8)}});
    full.run({{x8, rows_of_x(8, 8)}, {t8, rows_of_t(8, 8)}});
    rest.run({{x5, rows_of_x(16, 5)}, {t5, rows_of_t(16, 5)}});
    Vector g = gradient_by_hand(hand.w, 0, 21);
    double squares = 0;
    for (const double e : g) squares += e * e;
    for (double& e : g) e *= std::min(1.0, 0.5 / std::sqrt(squares));
    hand.step(rule, g);
    for (std::size_t i = 0; i < 3; ++i)
      BOOST_TEST_REQUIRE(std::abs(w.value().span<double>()[i] - hand.w[i]) < 1e-12);
  }
}

BOOST_AUTO_TEST_CASE(a_batch_that_is_not_finite_adds_nothing_and_does_not_count) {
  Weighted one, other;
  Optimizer first(Adam{}), second(Adam{});
  const MinimizeOptions options{.accumulate = 3};
  const Weighted::Step a = one.step(8, true), b = other.step(8, true);
  Program good = compile({}, minimize(first, a.loss, options));
  Program shaken = compile({}, minimize(second, b.loss, options));
  const Tensor broken = full({8, 1}, std::nan(""), DType::f64);
  for (std::size_t n = 0; n < 9; ++n) {
    good.run(feeds_of(a, n, 8));
    const std::vector<Tensor> before = values_of(second.states());
    shaken.run({{b.x, rows_of_x(n, 8)}, {b.t, broken}, {b.weight, rows_of_weight(n, 8)}});
    BOOST_TEST(same_bits(before, values_of(second.states())));
    shaken.run(feeds_of(b, n, 8));
  }
  BOOST_TEST(same_bits(one.w.value(), other.w.value()));
  BOOST_TEST(same_bits(values_of(first.states()), values_of(second.states())));
}

BOOST_AUTO_TEST_CASE(accumulation_goes_on_from_the_states) {
  Weighted one, other;
  Optimizer first(Adam{}), second(Adam{});
  const MinimizeOptions options{.accumulate = 4};
  const Weighted::Step a = one.step(8, true), b = other.step(8, true);
  Program straight = compile({}, minimize(first, a.loss, options));
  Program resumed = compile({}, minimize(second, b.loss, options));
  for (std::size_t n = 0; n < 6; ++n) straight.run(feeds_of(a, n, 8));  // in the second update
  for (std::size_t i = 0; i < first.states().size(); ++i)
    second.states()[i].set_value(first.states()[i].value());
  other.w.set_value(one.w.value());
  other.b.set_value(one.b.value());
  for (std::size_t n = 6; n < 12; ++n) {
    straight.run(feeds_of(a, n, 8));
    resumed.run(feeds_of(b, n, 8));
  }
  BOOST_TEST(same_bits(one.w.value(), other.w.value()));
  BOOST_TEST(same_bits(values_of(first.states()), values_of(second.states())));
}

// Two programs that list the parameters in another order are one accumulation; other parameters are
// another one.
BOOST_AUTO_TEST_CASE(accumulation_is_of_a_set_of_parameters) {
  const auto run = [](bool swaps, bool has_other) {
    Weighted model;
    Optimizer optimizer(Sgd{.learning_rate = 1});
    const std::vector<Expr> one = {model.w, model.b}, two = {model.b, model.w};
    const Weighted::Step step = model.step(8, true);
    const auto program = [&](std::vector<Expr> only) {
      return compile({},
                     minimize(optimizer, step.loss, {.only = std::move(only), .accumulate = 3}));
    };
    Program first = program(one), second = program(swaps ? two : one), other = program({model.b});
    for (std::size_t n = 0; n < 9; ++n) {
      (n % 2 == 0 ? first : second).run(feeds_of(step, n, 8));
      if (has_other && n == 4) other.run(feeds_of(step, n, 8));  // one batch of three: no update
    }
    return std::vector<Tensor>{model.w.value(), model.b.value()};
  };
  BOOST_TEST(!same_bits(run(false, false)[0], Weighted().w.value()));
  BOOST_TEST(same_bits(run(false, false), run(true, false)));
  BOOST_TEST(same_bits(run(false, false), run(true, true)));
}

BOOST_AUTO_TEST_CASE(the_sums_are_those_of_the_optimizer_and_its_parameters) {
  Weighted model;
  Optimizer optimizer(Sgd{}, "sgd");
  const Loss loss = model.step(8, false).loss;
  minimize(optimizer, loss, {.only = {model.w, model.b}, .accumulate = 3});
  minimize(optimizer, loss, {.only = {model.b}, .accumulate = 3});
  std::string names;
  const std::vector<Expr> states = optimizer.states();
  for (std::size_t i = 3; i < states.size(); ++i) names += leaf_name(states[i]) + " ";
  BOOST_TEST(names ==
             "sgd.accumulated_weight sgd.accumulated_batches w.accumulated b.accumulated "
             "sgd.accumulated_weight.2 sgd.accumulated_batches.2 b.accumulated.2 ");
}

BOOST_AUTO_TEST_CASE(a_flush_updates_with_what_there_is) {
  Weighted whole, parts;
  Optimizer first(Sgd{.learning_rate = 1}), second(Sgd{.learning_rate = 1});
  const Weighted::Step a = whole.step(16, true), b = parts.step(8, true);
  compile({}, minimize(first, a.loss)).run(feeds_of(a, 0, 16));
  const Expr flush = input("flush", {}, DType::boolean);
  const Gradients all = blockgrad::accumulate(second, gradients(b.loss), 100, flush);
  Program program = compile({}, second.apply(all));
  for (const bool is_last : {false, true}) {
    BOOST_TEST(parts.w.value().at(0) == 0.5);
    Feeds feeds = feeds_of(b, is_last ? 8 : 0, 8);
    feeds.push_back({flush, full({}, is_last ? 1 : 0, DType::boolean)});
    program.run(feeds);
  }
  for (std::int64_t i = 0; i < 3; ++i)
    BOOST_TEST(std::abs(parts.w.value().at(i) - whole.w.value().at(i)) < 1e-13);
  for (const Expr& state : second.states())
    BOOST_TEST(
        (leaf_name(state).find("accumulated") == std::string::npos || state.value().at(0) == 0));
}

BOOST_AUTO_TEST_CASE(accumulation_carries_updates_and_checks_of_the_user) {
  Weighted model;
  Optimizer optimizer(Sgd{.learning_rate = 1});
  const Expr runs = state(zeros({}, DType::f64), "runs"), other = input("other", {}, DType::f64);
  const Weighted::Step step = model.step(8, false);
  Gradients all = gradients(step.loss);
  all.updates.set(runs, runs + 1.0);
  all.checked.push_back(other);
  Program program = compile({}, optimizer.apply(blockgrad::accumulate(optimizer, all, 2)));
  const auto run = [&](double value) {
    Feeds feeds = feeds_of(step, 0, 8);
    feeds.push_back({other, tensor({value}, {})});
    program.run(feeds);
  };
  run(1);
  run(infinite);  // does not count
  BOOST_TEST(model.w.value().at(0) == 0.5);
  run(1);
  BOOST_TEST(model.w.value().at(0) != 0.5);
  BOOST_TEST(runs.value().at(0) == 3);
}

BOOST_AUTO_TEST_CASE(a_run_without_weight_counts_as_a_batch_of_gradient_zero) {
  Weighted model;
  Optimizer optimizer(Sgd{.learning_rate = 1});
  const Weighted::Step step = model.step(2, false);
  Program program = compile({}, minimize(optimizer, step.loss, {.accumulate = 2}));
  const Tensor nothing = zeros({2, 1}, DType::f64);
  for (int n = 0; n < 2; ++n)
    program.run({{step.x, rows_of_x(0, 2)}, {step.t, rows_of_t(0, 2)}, {step.weight, nothing}});
  BOOST_TEST(model.w.value().at(0) == 0.5);
  BOOST_TEST(model.b.value().at(0) == 0.1);
}

BOOST_AUTO_TEST_CASE(a_parameter_of_the_penalty_alone_is_accumulated_too) {
  const Expr w = parameter(ones({}, DType::f64), "w"), q = parameter(ones({}, DType::f64), "q");
  Optimizer optimizer(Sgd{.learning_rate = 1});
  const Loss loss =
      Loss{w * stop_gradient(q), constant(full({}, 2, DType::f64)), {}} + penalty(0.25 * square(q));
  Program program = compile({}, minimize(optimizer, loss, {.accumulate = 3}));
  program.run_many(3);
  BOOST_TEST(w.value().at(0) == 0.5);
  BOOST_TEST(q.value().at(0) == 0.5);
}

BOOST_AUTO_TEST_SUITE_END()
