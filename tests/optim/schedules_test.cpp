// Schedules against their formulas, and settings that follow one.
#include "blockgrad/optim/schedules.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <numbers>

#include "blockgrad/blockgrad.h"
#include "tests/optim/by_hand.h"

using namespace blockgrad;
using by_hand::error_of;
using by_hand::without_lines;

namespace {

constexpr double pi = std::numbers::pi;

// The values at steps 0 to n - 1.
std::vector<double> values_of(const Schedule& schedule, int n) {
  const Expr step = input("step", {}, DType::f64);
  Program program = compile({schedule.at(step)});
  std::vector<double> values;
  for (int i = 0; i < n; ++i)
    values.push_back(program.run({{step, full({}, i, DType::f64)}}).number(0));
  return values;
}

void compare(const Schedule& schedule, const std::function<double(double)>& expected, int n = 40) {
  const std::vector<double> values = values_of(schedule, n);
  for (int i = 0; i < n; ++i) {
    const double y = values[static_cast<std::size_t>(i)];
    BOOST_TEST(std::abs(y - expected(i)) <= 1e-14,
               "step " << i << ": " << y << " instead of " << expected(i));
  }
}

// A parameter that shows the learning rate: each update takes rate * 1 from it.
struct Shown {
  Expr w = parameter(zeros({}, DType::f64), "w");
  Expr x = input("x", {}, DType::f64);
  Optimizer optimizer{Sgd{.learning_rate = 0.5}};

  Program program() {
    return compile({}, minimize(optimizer, {w * x, constant(ones({}, DType::f64)), {}}));
  }
};

Feeds feed(const Shown& shown, double x = 1) { return {{shown.x, full({}, x, DType::f64)}}; }

}  // namespace

BOOST_AUTO_TEST_SUITE(schedules)

BOOST_AUTO_TEST_CASE(each_schedule_follows_its_formula) {
  compare(constant_schedule(0.3), [](double) { return 0.3; });
  compare(step_schedule(0.1, 3, 0.5),
          [](double s) { return 0.1 * std::pow(0.5, std::floor(s / 3)); });
  compare(exponential_schedule(0.1, 0.9), [](double s) { return 0.1 * std::pow(0.9, s); });
  compare(polynomial_schedule(0.1, 0.02, 10),
          [](double s) { return 0.02 + 0.08 * (1 - std::min(s, 10.0) / 10); });
  compare(polynomial_schedule(0.1, 0.02, 10, 2.5),
          [](double s) { return 0.02 + 0.08 * std::pow(1 - std::min(s, 10.0) / 10, 2.5); });
  compare(cosine_schedule(0.1, 0.01, 10),
          [](double s) { return 0.01 + 0.09 * (1 + std::cos(pi * std::min(s, 10.0) / 10)) / 2; });
  compare(linear_warmup(0.2, 8), [](double s) { return 0.2 * std::min(1.0, (s + 1) / 8); });
  compare(inverse_sqrt_schedule(0.2, 8),
          [](double s) { return s + 1 < 8 ? 0.2 * (s + 1) / 8 : 0.2 * std::sqrt(8 / (s + 1)); });
}

BOOST_AUTO_TEST_CASE(one_cycle_gives_the_values_of_pytorch) {
  const std::vector<double> expected = {// OneCycleLR(max_lr=0.1, total_steps=20), PyTorch 2
                                        0.004,
                                        0.013167184270002533,
                                        0.037167184270002526,
                                        0.066832815729997469,
                                        0.090832815729997476,
                                        0.1,
                                        0.098746400623508743,
                                        0.095048463201347383,
                                        0.089091617757105002,
                                        0.081174565394976306,
                                        0.071694300179130088,
                                        0.06112620219362893,
                                        0.0500002,
                                        0.038874197806371073,
                                        0.028306099820869922,
                                        0.018825834605023701,
                                        0.010908782242895003,
                                        0.0049519367986526289,
                                        0.0012539993764912555,
                                        4e-07};
  const std::vector<double> values = values_of(one_cycle_schedule(0.1, 20), 25);
  for (std::size_t i = 0; i < 25; ++i)
    BOOST_TEST(std::abs(values[i] - expected[std::min<std::size_t>(i, 19)]) < 1e-16);
}

BOOST_AUTO_TEST_CASE(joined_schedules_follow_one_another_each_from_its_own_start) {
  const Schedule joined = join_schedules(
      {{5, linear_warmup(0.1, 5)}, {10, cosine_schedule(0.1, 0.02, 10)}}, constant_schedule(0.02));
  compare(joined, [](double s) {
    return s < 5    ? 0.1 * (s + 1) / 5
           : s < 15 ? 0.02 + 0.08 * (1 + std::cos(pi * (s - 5) / 10)) / 2
                    : 0.02;
  });
  compare(join_schedules({}, constant_schedule(0.5)), [](double) { return 0.5; }, 3);
}

BOOST_AUTO_TEST_CASE(numbers_of_a_schedule_are_checked) {
  const double nan = std::nan(""), infinite = std::numeric_limits<double>::infinity();
  BOOST_TEST(error_of([&] { constant_schedule(nan); }) ==
             "constant_schedule: value must be finite, got nan");
  BOOST_TEST(error_of([&] { step_schedule(0.1, 0, 0.5); }) ==
             "step_schedule: every must be at least 1, got 0");
  BOOST_TEST(error_of([&] { step_schedule(0.1, 1, 0); }) ==
             "step_schedule: factor must be above 0, got 0");
  BOOST_TEST(error_of([&] { exponential_schedule(infinite, 0.5); }) ==
             "exponential_schedule: start must be finite, got inf");
  BOOST_TEST(error_of([&] { polynomial_schedule(1, 0, 10, -1); }) ==
             "polynomial_schedule: power must be above 0, got -1");
  BOOST_TEST(error_of([&] { cosine_schedule(1, nan, 10); }) ==
             "cosine_schedule: end must be finite, got nan");
  BOOST_TEST(error_of([&] { linear_warmup(1, 0); }) ==
             "linear_warmup: steps must be at least 1, got 0");
  BOOST_TEST(error_of([&] { inverse_sqrt_schedule(1, -3); }) ==
             "inverse_sqrt_schedule: warmup must be at least 1, got -3");
  BOOST_TEST(error_of([&] { one_cycle_schedule(1, 3); }) ==
             "one_cycle_schedule: the rise of 0.3 of 3 steps leaves no step to rise or to fall");
  BOOST_TEST(error_of([&] { one_cycle_schedule(1, 20, {.start_div = 0}); }) ==
             "one_cycle_schedule: start_div must be above 0, got 0");
  BOOST_TEST(error_of([&] { join_schedules({{0, constant_schedule(1)}}, constant_schedule(1)); }) ==
             "join_schedules: the length of each part must be at least 1, got 0");
  BOOST_TEST(error_of([&] { join_schedules({}, {}); }) == "join_schedules: a schedule is empty");
}

BOOST_AUTO_TEST_CASE(the_learning_rate_follows_its_schedule_in_one_run_of_many_steps) {
  Shown one, many;
  one.optimizer.learning_rate = cosine_schedule(0.1, 0, 20);
  many.optimizer.learning_rate = cosine_schedule(0.1, 0, 20);
  BOOST_TEST(double(one.optimizer.learning_rate) == 0.5);  // of no update yet
  Program single = one.program(), loop = many.program();
  double w = 0;
  for (int s = 0; s < 30; ++s) {
    single.run(feed(one));
    const double rate = 0.05 * (1 + std::cos(pi * std::min(s, 20) / 20));
    w -= rate;
    BOOST_TEST(std::abs(one.w.value().at(0) - w) < 1e-14);
    BOOST_TEST(std::abs(double(one.optimizer.learning_rate) - rate) < 1e-15);
  }
  const Feeds feeds[] = {feed(many)};
  loop.run_many(30, feeds);
  BOOST_TEST(many.w.value().at(0) == one.w.value().at(0));
}

BOOST_AUTO_TEST_CASE(a_step_held_back_does_not_move_the_schedule) {
  Shown shown;
  shown.optimizer.learning_rate = exponential_schedule(1, 0.5);
  Program program = shown.program();
  program.run(feed(shown));
  for (int n = 0; n < 3; ++n) program.run(feed(shown, std::nan("")));
  program.run(feed(shown));
  BOOST_TEST(shown.w.value().at(0) == -1.5);
  BOOST_TEST(double(shown.optimizer.learning_rate) == 0.5);
}

BOOST_AUTO_TEST_CASE(a_number_always_writes_the_number) {
  Shown shown;
  shown.optimizer.learning_rate = exponential_schedule(1, 0.5);
  Program program = shown.program();
  program.run(feed(shown));
  shown.optimizer.learning_rate = 0.25;
  program.run(feed(shown));
  program.run(feed(shown));
  BOOST_TEST(shown.w.value().at(0) == -1.5);
  BOOST_TEST(double(shown.optimizer.learning_rate) == 0.25);
}

BOOST_AUTO_TEST_CASE(groups_inherit_a_schedule_or_have_their_own) {
  const Expr a = parameter(zeros({}, DType::f64), "a"), b = parameter(zeros({}, DType::f64), "b"),
             c = parameter(zeros({}, DType::f64), "c"), d = parameter(zeros({}, DType::f64), "d");
  Optimizer optimizer(Sgd{.learning_rate = 8});
  optimizer.group("b", {{"learning_rate", 3}});
  optimizer.group("c").learning_rate = exponential_schedule(4, 0.5);
  optimizer.learning_rate = exponential_schedule(1, 0.5);
  ParameterGroup late = optimizer.group("d");
  Program program =
      compile({}, minimize(optimizer, {a + b + c + d, constant(ones({}, DType::f64)), {}}));
  program.run_many(3);
  BOOST_TEST(a.value().at(0) == -1.75);
  BOOST_TEST(b.value().at(0) == -9);
  BOOST_TEST(c.value().at(0) == -7);
  BOOST_TEST(d.value().at(0) == -1.75);
  BOOST_TEST(double(late.learning_rate) == 0.25);
  optimizer.learning_rate = 1;  // not of b and c
  program.run();
  BOOST_TEST(a.value().at(0) == -2.75);
  BOOST_TEST(b.value().at(0) == -12);
  BOOST_TEST(c.value().at(0) == -7.5);
  BOOST_TEST(d.value().at(0) == -2.75);
}

BOOST_AUTO_TEST_CASE(a_schedule_goes_on_from_the_states) {
  Shown one, other;
  for (Shown* shown : {&one, &other})
    shown->optimizer.learning_rate =
        join_schedules({{3, linear_warmup(1, 3)}}, exponential_schedule(1, 0.7));
  Program straight = one.program(), resumed = other.program();
  for (int n = 0; n < 5; ++n) straight.run(feed(one));
  const std::vector<Expr> from = one.optimizer.states(), to = other.optimizer.states();
  BOOST_TEST_REQUIRE(from.size() == to.size());
  for (std::size_t i = 0; i < from.size(); ++i) to[i].set_value(from[i].value());
  other.w.set_value(one.w.value());
  for (int n = 0; n < 5; ++n) {
    straight.run(feed(one));
    resumed.run(feed(other));
  }
  BOOST_TEST(one.w.value().at(0) == other.w.value().at(0));
}

BOOST_AUTO_TEST_CASE(every_setting_may_follow_a_schedule_and_weight_decay_from_zero) {
  const Expr w = parameter(full({}, 8, DType::f64), "w");
  Optimizer optimizer(Sgd{.learning_rate = 0.5});
  optimizer["weight_decay"] = join_schedules({{1, constant_schedule(0)}}, constant_schedule(0.5));
  Program program = compile({}, minimize(optimizer, {w * 0.0, constant(ones({}, DType::f64)), {}}));
  program.run();
  BOOST_TEST(w.value().at(0) == 8);
  program.run();
  BOOST_TEST(w.value().at(0) == 6);
}

BOOST_AUTO_TEST_CASE(a_schedule_comes_before_the_step_and_gives_an_f64_scalar) {
  Shown shown;
  shown.program();
  const auto text = [](const std::function<void()>& call) { return without_lines(error_of(call)); };
  BOOST_TEST(text([&] { shown.optimizer.learning_rate = constant_schedule(1); }) ==
             "setting 'learning_rate' at schedules_test.cpp:: a step was built before; assign the "
             "schedule first");
  BOOST_TEST(text([&] { shown.optimizer["momentum"] = constant_schedule(1); }) ==
             "setting 'momentum' at schedules_test.cpp:: a step was built before; assign the "
             "schedule first");
  BOOST_TEST(text([&] { shown.optimizer.learning_rate = Schedule{}; }) ==
             "setting 'learning_rate' at schedules_test.cpp:: the schedule is empty");
  Optimizer other(Sgd{});
  const Schedule half{[](const Expr& step) { return astype(step, DType::f32); }};
  BOOST_TEST(text([&] { other.learning_rate = half; }) ==
             "setting 'learning_rate' at schedules_test.cpp:: a schedule must give an f64 scalar, "
             "got f32[]");
  BOOST_TEST(other.states().size() == 3);
}

BOOST_AUTO_TEST_SUITE_END()
