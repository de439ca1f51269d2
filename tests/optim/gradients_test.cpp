// Gradients as a value: clipping, accumulation and guards.
#include "blockgrad/optim/gradients.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <limits>

#include "blockgrad/blockgrad.h"
#include "tests/optim/by_hand.h"

using namespace blockgrad;
using namespace by_hand;

namespace {

constexpr double infinite = std::numeric_limits<double>::infinity();

// A loss whose gradient by `p` is `g`.
Loss with_gradient(const Expr& p, const Expr& g) {
  return {sum(p * g), constant(ones({}, p.dtype())), {}};
}

std::vector<double> clipped(const std::vector<double>& g, DType dtype,
                            const std::function<Gradients(const Gradients&)>& transform) {
  const auto n = static_cast<std::int64_t>(g.size());
  const Expr p = parameter(zeros({n}, dtype), "p"), x = input("x", {n}, dtype);
  const Gradients made = transform(gradients(with_gradient(p, x)));
  const Tensor y =
      evaluate(made.list[0].value, {{x, tensor(std::span<const double>(g), {n}).astype(dtype)}});
  std::vector<double> values;
  for (std::int64_t i = 0; i < n; ++i) values.push_back(y.at(i));
  return values;
}

std::vector<double> by_norm(const std::vector<double>& g, double limit, DType dtype = DType::f64) {
  return clipped(g, dtype, [&](const Gradients& all) { return clip_by_global_norm(all, limit); });
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.type() == b.type() &&
         std::memcmp(a.bytes(), b.bytes(), static_cast<std::size_t>(bytes_of(a.type()))) == 0;
}

std::vector<Tensor> values_of(const std::vector<Expr>& leaves) {
  std::vector<Tensor> values;
  for (const Expr& leaf : leaves) values.push_back(leaf.value());
  return values;
}

bool same_bits(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  bool same = a.size() == b.size();
  for (std::size_t i = 0; same && i < a.size(); ++i) same = same_bits(a[i], b[i]);
  return same;
}

// Weighted regression with labels that count or not, and a penalty on one of two parameters.
struct Weighted {
  Expr w = parameter(tensor({0.5, -0.25, 1.0}, {3, 1}), "w");
  Expr b = parameter(tensor({0.1}, {1}), "b");

  struct Step {
    Expr x, t, weight;
    Loss loss;
  };
  Step step(std::int64_t rows, bool has_penalty) const {
    Step made{input("x", {rows, 3}, DType::f64),
              input("t", {rows, 1}, DType::f64),
              input("weight", {rows, 1}, DType::f64),
              {}};
    const Expr error = matmul(made.x, w) + b - made.t;
    made.loss = {sum(made.weight * square(error)), sum(made.weight), {}};
    if (has_penalty) made.loss = made.loss + penalty(0.3 * sum(square(w)) + 0.2 * sum(exp(w)));
    return made;
  }
};

double weight_at(std::size_t row) {  // every fifth row is ignored
  return row % 5 == 3 ? 0 : 0.5 + 0.25 * static_cast<double>(row % 4);
}

Tensor rows_of_weight(std::size_t first, std::size_t rows) {
  Vector values;
  for (std::size_t i = 0; i < rows; ++i) values.push_back(weight_at(first + i));
  return tensor(std::span<const double>(values), {static_cast<std::int64_t>(rows), 1});
}

Feeds feeds_of(const Weighted::Step& step, std::size_t first, std::size_t rows) {
  return {{step.x, rows_of_x(first, rows)},
          {step.t, rows_of_t(first, rows)},
          {step.weight, rows_of_weight(first, rows)}};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(gradients)

BOOST_AUTO_TEST_CASE(clipping_by_value_cuts_each_element_and_keeps_nan) {
  const auto by_value = [](const std::vector<double>& g, double limit) {
    return clipped(g, DType::f64, [&](const Gradients& all) { return clip_by_value(all, limit); });
  };
  const std::vector<double> y = by_value({-3, -0.5, 0.25, 2, infinite, -infinite}, 0.5);
  BOOST_TEST(y == (std::vector<double>{-0.5, -0.5, 0.25, 0.5, 0.5, -0.5}),
             boost::test_tools::per_element());
  BOOST_TEST(std::isnan(by_value({std::nan("")}, 1)[0]));
  BOOST_TEST(by_value({3}, 0)[0] == 0);
  BOOST_TEST(by_value({3e300}, infinite)[0] == 3e300);
}

BOOST_AUTO_TEST_CASE(clipping_by_norm_scales_down_to_the_norm_and_never_up) {
  BOOST_TEST(by_norm({3, 4}, 1) == (std::vector<double>{0.6000000000000001, 0.8}),
             boost::test_tools::per_element());
  BOOST_TEST(by_norm({3, 4}, 5) == (std::vector<double>{3, 4}), boost::test_tools::per_element());
  BOOST_TEST(by_norm({3, 4}, 50) == (std::vector<double>{3, 4}), boost::test_tools::per_element());
  BOOST_TEST(by_norm({3, 4}, infinite) == (std::vector<double>{3, 4}),
             boost::test_tools::per_element());
  BOOST_TEST(by_norm({0, 0}, 1) == (std::vector<double>{0, 0}), boost::test_tools::per_element());
  BOOST_TEST(by_norm({0, 0}, infinite) == (std::vector<double>{0, 0}),
             boost::test_tools::per_element());
  const std::vector<double> large = by_norm({3e30, 4e30}, 1, DType::f32);  // squares overflow f32
  BOOST_TEST(std::abs(large[0] - 0.6) < 1e-7);
  BOOST_TEST(std::abs(large[1] - 0.8) < 1e-7);
  BOOST_TEST(std::isnan(by_norm({1, std::nan("")}, 1)[0]));
}

BOOST_AUTO_TEST_CASE(the_norm_is_of_all_gradients_together) {
  const Expr p = parameter(zeros({2}, DType::f64), "p"), q = parameter(zeros({}), "q");
  const Expr g = constant(tensor({3.0, 4.0}, {2}));
  const Loss loss{sum(p * g) + astype(q * 12.0, DType::f64), constant(ones({}, DType::f64)), {}};
  const Gradients made = blockgrad::gradients(loss);
  BOOST_TEST(evaluate(global_norm(made)).at(0) == 13);
  const Gradients half = clip_by_global_norm(made, 6.5);
  BOOST_TEST(evaluate(half.list[0].value).at(1) == 2);
  BOOST_TEST(evaluate(half.list[1].value).at(0) == 6);
}

BOOST_AUTO_TEST_CASE(clipping_does_not_hide_what_is_not_finite) {
  const Expr p = parameter(ones({1}, DType::f64), "p"), x = input("x", {1}, DType::f64);
  Optimizer optimizer(Sgd{.learning_rate = 1});
  Program program =
      compile({}, minimize(optimizer, with_gradient(p, x), {.clip_value = 0.5, .clip_norm = 0.25}));
  for (const double bad : {infinite, -infinite, std::nan("")}) {
    program.run({{x, tensor({bad}, {1})}});
    BOOST_TEST(p.value().at(0) == 1);
  }
  program.run({{x, tensor({100.0}, {1})}});
  BOOST_TEST(p.value().at(0) == 0.75);
}

BOOST_AUTO_TEST_CASE(clipped_training_follows_the_recurrence) {
  Expr w = parameter(tensor({1.0, -2.0, 3.0}, {3, 1}), "w");
  const Expr x = input("x", {8, 3}, DType::f64), t = input("t", {8, 1}, DType::f64);
  const Adam rule{.learning_rate = 0.05, .weight_decay = 0.02};
  Optimizer optimizer(rule);
  Program program = compile(
      {}, minimize(optimizer, mse_loss(matmul(x, w), t), {.clip_value = 0.7, .clip_norm = 0.8}));
  ByHand hand;
  for (std::size_t n = 0; n < 100; ++n) {
    program.run({{x, rows_of_x(n, 8)}, {t, rows_of_t(n, 8)}});
    Vector g = gradient_by_hand(hand.w, n, 8);
    double squares = 0;
    for (double& e : g) {
      e = std::min(std::max(e, -0.7), 0.7);
      squares += e * e;
    }
    for (double& e : g) e *= std::min(1.0, 0.8 / std::sqrt(squares));
    hand.step(rule, g);
    for (std::size_t i = 0; i < 3; ++i)
      BOOST_TEST_REQUIRE(std::abs(w.value().span<double>()[i] - hand.w[i]) < 1e-12);
  }
}

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

BOOST_AUTO_TEST_CASE(a_guard_that_is_false_leaves_every_bit) {
  Weighted model;
  Optimizer optimizer(Adam{});
  const Expr allowed = state(zeros({}, DType::boolean), "allowed");
  const Weighted::Step step = model.step(8, true);
  Gradients all = blockgrad::gradients(step.loss);
  all.guard = allowed;
  Program program = compile({}, optimizer.apply(clip_by_global_norm(all, 1)));
  std::vector<Expr> leaves = optimizer.states();
  leaves.push_back(model.w);
  leaves.push_back(model.b);
  const std::vector<Tensor> before = values_of(leaves);
  program.run(feeds_of(step, 0, 8));
  BOOST_TEST(same_bits(before, values_of(leaves)));
  allowed.set_value(full({}, 1, DType::boolean));
  program.run(feeds_of(step, 0, 8));
  BOOST_TEST(!same_bits(before, values_of(leaves)));
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

BOOST_AUTO_TEST_CASE(mistakes_are_named) {
  const Expr p = parameter(ones({2}, DType::f64), "p"), g = constant(ones({2}, DType::f64));
  const Gradients all = blockgrad::gradients(with_gradient(p, g));
  Optimizer optimizer(Sgd{});
  const auto ends = [](const std::function<void()>& call, const std::string& end) {
    const std::string text = error_of(call);
    BOOST_TEST(text.ends_with(end), text);
    BOOST_TEST(text.find(" at gradients_test.cpp:") != std::string::npos, text);
  };
  ends([&] { clip_by_value(all, -1); }, ": the limit must not be negative, got -1");
  ends([&] { clip_by_value(all, std::nan("")); }, ": the limit must not be negative, got nan");
  ends([&] { clip_by_global_norm(all, 0); }, ": the limit must be above 0, got 0");
  ends([&] { clip_by_global_norm(all, std::nan("")); }, ": the limit must be above 0, got nan");
  ends([&] { accumulate(optimizer, all, 0); }, ": wants at least 1 batch, got 0");
  ends([&] { accumulate(optimizer, {}, 2); }, ": there are no gradients");
  ends([&] { accumulate(optimizer, clip_by_value(all, 1), 2); },
       ": comes before clipping and scaling, which need the mean gradient");
  ends([&] { blockgrad::gradients({sum(g), constant(ones({}, DType::f64)), {}}); },
       ": the loss depends on no parameter");
  const Gradients odd = blockgrad::gradients({sum(p), sum(p * p), {}});
  const std::string text = error_of([&] { accumulate(optimizer, odd, 2); });
  BOOST_TEST(text.starts_with("accumulate at gradients_test.cpp:"), text);
  BOOST_TEST(text.find(": the weight of the loss depends on parameter 'p' (gradients_test.cpp:") !=
                 std::string::npos,
             text);
  BOOST_TEST(optimizer.states().size() == 3);
}

BOOST_AUTO_TEST_SUITE_END()
