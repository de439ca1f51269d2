// check_numerics: whatever op makes a NaN or an infinity, forward or backward, is named with its
// line and its inputs' ranges, and nothing is updated.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "blockgrad/blockgrad.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity();

Tensor vector(std::vector<float> values) {
  return tensor(std::span<const float>(values), {static_cast<std::int64_t>(values.size())});
}

const CompileOptions checked{.check_numerics = true};

double scalar_value(ScalarOp op, std::span<const double> args) {
  const Expr a = constant(full({}, args[0]));
  const Expr b = constant(full({}, args.size() > 1 ? args[1] : 0));
  const Expr y = args.size() > 1 ? detail::binary(op, a, b) : detail::unary(op, a);
  return evaluate(y).at(0);
}

struct Plant {
  ScalarOp op;
  int arity;
};

// Every function of the table that gives floating values.
std::vector<Plant> plants() {
  std::vector<Plant> all;
#define BG_UNARY(name, types, value, adjoint) all.push_back({ScalarOp::name, 1});
#define BG_BINARY(name, types, value, to_a, to_b) all.push_back({ScalarOp::name, 2});
#define BG_PREDICATE(name, value)
#define BG_COMPARE(name, value)
#define BG_LOGICAL(name, value)
#include "blockgrad/graph/scalar.def"
#undef BG_UNARY
#undef BG_BINARY
#undef BG_PREDICATE
#undef BG_COMPARE
#undef BG_LOGICAL
  return all;
}

const double candidates[] = {0,    -0.0,  1,    -1,    0.5,   2,     1e3, -1e3,
                             3e38, -3e38, 1e20, -1e20, 1e-40, 1e-20, 88};

std::vector<std::vector<double>> arguments(int arity) {
  std::vector<std::vector<double>> all;
  for (const double a : candidates) {
    if (arity == 1) all.push_back({a});
    else
      for (const double b : candidates) all.push_back({a, b});
  }
  return all;
}

struct Planted {
  Expr x, z, y;
  std::string where;

  explicit Planted(const Plant& plant) : x(input("x", {4})), z(input("z", {4})) {
    const Scope scope("planted");
    where = "planted." + std::string(name(plant.op)) + " (numerics_test.cpp:";
    y = plant.arity == 1 ? detail::unary(plant.op, x) : detail::binary(plant.op, x, z);
  }

  // The arguments at element 2, harmless ones elsewhere.
  std::vector<Feed> feeds(const std::vector<double>& args, const std::vector<double>& usual) const {
    std::vector<float> first(4, static_cast<float>(usual[0])), second(4, 1);
    first[2] = static_cast<float>(args[0]);
    if (args.size() > 1) {
      second.assign(4, static_cast<float>(usual[1]));
      second[2] = static_cast<float>(args[1]);
    }
    return {{x, vector(first)}, {z, vector(second)}};
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(numerics)

BOOST_AUTO_TEST_CASE(every_scalar_function_is_named_where_it_overflows) {
  int planted = 0, named = 0;
  for (const Plant& plant : plants()) {
    for (const auto& args : arguments(plant.arity)) {
      if (std::isfinite(scalar_value(plant.op, args))) continue;
      const Expr w = parameter(ones({4}), "w");
      const Planted p(plant);
      // Masked at once, so that only the node itself ever holds it.
      const Expr loss = sum(where(isfinite(p.y), p.y, 0.0) * w);
      Optimizer optimizer(Sgd{.learning_rate = 0.1});
      Program step =
          compile({loss}, minimize(optimizer, {loss, constant(ones({})), {}}), cpu(), checked);
      const std::string text = error_of([&] { step.run(p.feeds(args, {0.5, 0.5})); });
      ++planted;
      const bool is_named =
          text.find(p.where) == 0 && contains(text, " at [2] of f32[4] in step 0");
      named += is_named;
      BOOST_TEST(is_named, text);
      BOOST_TEST(w.value().at(2) == 1);
      break;  // one plant per function
    }
  }
  BOOST_TEST(planted >= 12);
  BOOST_TEST(named == planted);
}

BOOST_AUTO_TEST_CASE(every_gradient_of_a_scalar_function_is_named_where_it_overflows) {
  int planted = 0, named = 0;
  for (const Plant& plant : plants()) {
    for (const auto& args : arguments(plant.arity)) {
      if (!std::isfinite(scalar_value(plant.op, args))) continue;
      const Planted p(plant);
      const Expr d = input("d", {4});
      const std::vector<Expr> wrt = plant.arity == 1 ? std::vector{p.x} : std::vector{p.x, p.z};
      const std::vector<Expr> g = vjp(p.y, d, wrt);
      std::vector<Feed> feeds = p.feeds(args, {0.5, 0.5});
      feeds.push_back({d, full({4}, 1e10)});
      bool overflows = false;
      for (const Expr& e : g) overflows = overflows || !std::isfinite(evaluate(e, feeds).at(2));
      if (!overflows) continue;
      Expr total = sum(where(isfinite(g[0]), g[0], 0.0));
      if (g.size() > 1) total = total + sum(where(isfinite(g[1]), g[1], 0.0));
      Program step = compile({total}, {}, cpu(), checked);
      const std::string text = error_of([&] { step.run(feeds); });
      ++planted;
      const std::string expected = "gradient of " + std::string(name(plant.op)) + " in planted (";
      const bool is_named = text.find(expected) == 0 && contains(text, " at [2] of f32[4]");
      named += is_named;
      BOOST_TEST(is_named, text);
      break;
    }
  }
  BOOST_TEST(planted >= 8);
  BOOST_TEST(named == planted);
}

BOOST_AUTO_TEST_CASE(products_sums_and_casts_are_named) {
  const Expr x = input("x", {2, 3}), d = input("d", {2}, DType::f64);
  const Tensor large = full({2, 3}, 1e38), wide = full({2}, 1e300, DType::f64);
  const std::vector<std::pair<Expr, std::string>> rows = {
      {sum(x * 1.0), "sum"},
      {max(matmul(x, x, {.transpose_b = true})), "matmul"},
      {max(astype(d, DType::f32)), "astype"},
      {max(softmax(x * 2.0)) + sum(x * 4.0), "multiply"},
      {sum(x * x), "multiply"},
  };
  for (const auto& [y, op] : rows) {
    Program program = compile({where(isfinite(y), y, 0.0)}, {}, cpu(), checked);
    const std::string text = error_of([&] { program.run({{x, large}, {d, wide}}); });
    BOOST_TEST(text.find(op + " (numerics_test.cpp:") == 0, text);
  }
}

BOOST_AUTO_TEST_CASE(the_message_has_op_line_place_and_ranges) {
  const Expr x = input("x", {2, 3}, DType::f64), w = parameter(ones({3}, DType::f64), "w");
  const int line = __LINE__ + 1;
  const Expr y = sum(exp(log(x) * w));
  Program program = compile({y}, Updates().set(w, w + 1.0), cpu(), checked);
  const Tensor good = tensor({1.0, 2.0, 3.0, 4.0, 5.0, 6.0}, {2, 3});
  program.run({{x, good}});
  const Tensor bad = tensor({1.0, 2.0, 3.0, 4.0, 5.0, -6.0}, {2, 3});
  const std::string text = error_of([&] { program.run_many(3, {{{x, good}}, {{x, bad}}}); });
  const std::string at = "numerics_test.cpp:" + std::to_string(line);
  const std::string before = "numerics_test.cpp:" + std::to_string(line - 2);
  const std::string nan = contains(text, "-nan") ? "-nan" : "nan";  // its sign is the machine's
  BOOST_TEST(text == "log (" + at + "): the first value that is not finite: " + nan +
                         " at [1, 2] of f64[2, 3] in step 1 of this run, which updated nothing; "
                         "its inputs: input 'x' (" +
                         before + ") f64[2, 3] from -6 to 5");
  BOOST_TEST(w.value().at(0) == 3);  // one run and one step
  program.run({{x, good}});
  BOOST_TEST(w.value().at(0) == 4);
}

BOOST_AUTO_TEST_CASE(an_update_that_overflows_is_named_and_not_written) {
  const Expr w = parameter(full({3}, 1), "w"), v = parameter(full({3}, 2), "v");
  Optimizer optimizer(Sgd{.learning_rate = 1e38});
  const Loss loss{sum(w * 1e3 + v), constant(ones({})), {}};
  Program step = compile({loss}, minimize(optimizer, loss), cpu(), checked);
  const std::string text = error_of([&] { step.run(); });
  BOOST_TEST(text.find("update of w.multiply (numerics_test.cpp:") == 0, text);
  BOOST_TEST(w.value().at(0) == 1);
  BOOST_TEST(v.value().at(0) == 2);
}

BOOST_AUTO_TEST_CASE(updates_are_watched_whoever_wrote_the_storage) {
  const Expr w = parameter(full({3}, 1), "w"), rate = state(full({}, 1), "rate"),
             x = input("x", {3});
  const auto stepping = [&](const Expr& change) { return Updates().set(w, w + change); };
  Program step = compile({}, stepping(x * rate), cpu(), checked);
  Program jump = compile({}, Updates().set(w, w * 0.0 + 3e38), cpu());
  const Tensor one = ones({3}), huge = full({3}, 1e38);
  step.run_many(3, {{{x, one}}});
  BOOST_TEST(w.value().at(0) == 4);
  w.set_value(full({3}, 3e38));  // by the host
  BOOST_TEST(contains(error_of([&] { step.run({{x, huge}}); }), "add (numerics_test.cpp:"));
  BOOST_TEST(w.value().at(0) == 3e38, boost::test_tools::tolerance(1e-6));
  w.set_value(one);
  step.run({{x, one}});
  jump.run();  // by another program
  BOOST_TEST(contains(error_of([&] { step.run({{x, huge}}); }), "add (numerics_test.cpp:"));
  w.set_value(one);
  rate.set_value(full({}, 1e38));  // what is only read
  BOOST_TEST(contains(error_of([&] { step.run({{x, full({3}, 1e3)}}); }), "multiply (numerics_te"));
  BOOST_TEST(w.value().at(0) == 1);
  rate.set_value(full({}, 1));
  // Up to the edge by steps of its own.
  for (int i = 0; i < 3; ++i) step.run({{x, huge}});
  BOOST_TEST(contains(error_of([&] { step.run({{x, huge}}); }), "add (numerics_test.cpp:"));
  BOOST_TEST(w.value().at(2) == 3e38, boost::test_tools::tolerance(1e-6));
}

BOOST_AUTO_TEST_CASE(infinities_that_are_meant_are_let_through) {
  const Expr x = input("x", {2, 3}), w = parameter(ones({3}), "w");
  const Tensor mask = tensor({0.0f, -inf, -inf, 0.0f, 0.0f, -inf}, {2, 3});
  const Expr by_constant = softmax(x * w + constant(mask));
  const Expr by_formula = softmax(where(x > 0.0, x * w, -inf));
  Optimizer optimizer(Sgd{.learning_rate = 0.1});
  const Loss loss{sum(square(by_constant) + by_formula), constant(ones({})), {}};
  Program step = compile({loss}, minimize(optimizer, loss), cpu(), checked);
  const Tensor good = tensor({1.0f, 2.0f, -3.0f, 4.0f, 5.0f, 6.0f}, {2, 3});
  for (int i = 0; i < 3; ++i) BOOST_TEST(error_of([&] { step.run({{x, good}}); }) == "no error");
  // A row without a single allowed entry is a mistake, and NaN is made of infinities there.
  const std::string text = error_of([&] { step.run({{x, full({2, 3}, -1)}}); });
  BOOST_TEST(contains(text, "the first value that is not finite"), text);
  BOOST_TEST(contains(text, "softmax"), text);
}

BOOST_AUTO_TEST_CASE(what_is_fed_not_finite_is_named_as_fed) {
  const Expr x = input("x", {3}), w = parameter(ones({3}), "w");
  Program step = compile({sum(x * w)}, {}, cpu(), checked);
  const std::string text = error_of([&] { step.run({{x, vector({1, inf, 2})}}); });
  BOOST_TEST(text.find("sum (numerics_test.cpp:") == 0, text);
  BOOST_TEST(contains(text, "no node made it: input 'x' (numerics_test.cpp:"), text);
  BOOST_TEST(contains(text, "holds inf at [1]"), text);
  // Missing values that the formula looks after are nobody's business.
  Program careful = compile({sum(where(isnan(x), 0.0, x) * w)}, {}, cpu(), checked);
  BOOST_TEST(careful.run({{x, vector({1, std::nanf(""), 2})}}).number(0) == 3);
}

// Formulas run on the elements of convolutions where nothing is watched.
BOOST_AUTO_TEST_CASE(a_convolution_and_the_formula_behind_it_are_named_each) {
  const Expr x = input("x", {2, 2, 20, 20}), w = parameter(ones({16, 2, 3, 3}), "w");
  const Expr made = conv2d(x, w, {.padding = 1});
  const auto step = [&](const Expr& y) {
    Updates updates;
    updates.set(w, w * 2.0);
    return compile({mean(y)}, updates, cpu(), checked);
  };
  Program hidden = step(relu(made)), outer = step(exp(made));
  for (int i = 0; i < 2; ++i) {
    const std::string text = error_of([&] { hidden.run({{x, full({2, 2, 20, 20}, -3e38)}}); });
    BOOST_TEST(text.find("conv2d (numerics_test.cpp:") == 0, text);
    BOOST_TEST(w.value().at(0) == 1);
  }
  const std::string text = error_of([&] { outer.run({{x, full({2, 2, 20, 20}, 50)}}); });
  BOOST_TEST(text.find("exp (numerics_test.cpp:") == 0, text);
  BOOST_TEST(contains(text, "conv2d"), text);
  BOOST_TEST(w.value().at(0) == 1);
}

BOOST_AUTO_TEST_CASE(watched_runs_give_the_same_bits) {
  const Expr x = input("x", {5, 7}), w = parameter(full({7, 3}, 0.25), "w"),
             v = parameter(full({7, 3}, 0.25), "v");
  const auto train = [&](const Expr& p, const CompileOptions& options) {
    Optimizer optimizer(Sgd{.learning_rate = 0.1, .momentum = 0.9});
    const Loss loss = mse_loss(tanh(matmul(x, p)), matmul(x, p) * 0.5);
    Program step = compile({loss}, minimize(optimizer, loss), cpu(), options);
    return step.run_many(5, {{{x, full({5, 7}, 0.75)}}}).number(0);
  };
  BOOST_TEST(train(w, {}) == train(v, checked));
  for (int i = 0; i < 21; ++i) BOOST_TEST(w.value().at(i) == v.value().at(i));
}

BOOST_AUTO_TEST_CASE(large_values_in_parallel_parts_are_watched) {
  const std::int64_t n = 300000;
  const Expr x = input("x", {n});
  std::vector<float> values(static_cast<std::size_t>(n), 1);
  values[static_cast<std::size_t>(n - 3)] = -1;
  Program program =
      compile({sum(exp(tanh(sqrt(x) * 2.0)))}, {}, cpu(), {.threads = 3, .check_numerics = true});
  const std::string text = error_of([&] { program.run({{x, vector(values)}}); });
  BOOST_TEST(text.find("sqrt (numerics_test.cpp:") == 0, text);
  BOOST_TEST(contains(text, " at [" + std::to_string(n - 3) + "]"), text);
}

BOOST_AUTO_TEST_CASE(two_byte_numbers_are_read_as_what_they_are) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    const double most = dtype == DType::f16 ? 65504 : 3.0e38,
                 root = dtype == DType::f16 ? 300 : 3e19;
    const Expr x = input("x", {3}, dtype), w = parameter(full({3}, 1, dtype), "w");
    const Expr y = x * x;
    Program program = compile({y, sum(w)}, Updates().set(w, w + x), cpu(), checked);
    const auto fed = [&](std::vector<float> values) {
      return Feeds{{x, vector(std::move(values)).astype(dtype)}};
    };
    program.run(fed({1, -2, static_cast<float>(root / 2)}));  // large, yet numbers
    const float before = static_cast<float>(w.value().at(2));
    const std::string text = error_of([&] { program.run(fed({1, static_cast<float>(root), 2})); });
    BOOST_TEST(contains(text, "multiply (numerics_test.cpp:"), text);
    BOOST_TEST(contains(text, "the first value that is not finite: inf at [1] of " +
                                  std::string(name(dtype)) + "[3]"),
               text);
    BOOST_TEST(contains(text, dtype == DType::f16 ? "f16[3] from 1 to 300"
                                                  : "bf16[3] from 1 to 2.9976e+19"),
               text);
    BOOST_TEST(w.value().at(2) == before);
    // An update in place, up to the edge and over it.
    const Expr v = parameter(full({3}, 1, dtype), "v");
    Program grow = compile({}, Updates().set(v, v + x), cpu(), checked);
    const auto edge = static_cast<float>(most);
    grow.run(fed({1, 0, edge}));
    BOOST_TEST(std::isfinite(v.value().at(2)));
    const std::string over = error_of([&] { grow.run(fed({1, 0, edge})); });
    BOOST_TEST(contains(over, "add (numerics_test.cpp:"), over);
    BOOST_TEST(contains(over, " at [2] of "), over);
    BOOST_TEST(std::isfinite(v.value().at(2)));
    BOOST_TEST(v.value().at(0) == 2);
    const std::string fed_nan = error_of([&] { grow.run(fed({std::nanf(""), 0, 0})); });
    BOOST_TEST(contains(fed_nan, "holds "), fed_nan);
  }
}

BOOST_AUTO_TEST_SUITE_END()
