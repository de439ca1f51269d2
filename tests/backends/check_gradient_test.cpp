// check_gradient finds wrong gradients and passes right ones.
#include "blockgrad/backends/check_gradient.h"

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "blockgrad/graph/flow.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/index.h"
#include "blockgrad/ops/linalg.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

// x^2, whose gradient claims to be factor * x.
struct Squared {
  static constexpr std::string_view name = "squared";
  Number factor = 2.0;
  bool operator==(const Squared&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward& b) const { return {b.dy() * b.input(0) * factor.value}; }
  Expr expand(std::span<const Expr> in) const { return in[0] * in[0]; }
};

// 2x, whose gradient is right but has a wrong gradient of its own.
struct Doubled {
  static constexpr std::string_view name = "doubled";
  bool is_gradient = false;
  bool operator==(const Doubled&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward& b) const {
    return {is_gradient ? b.dy() * 3.0 : make(Doubled{true}, {b.dy() * b.input(0)}) / b.input(0)};
  }
  Expr expand(std::span<const Expr> in) const { return in[0] * 2.0; }
};

const Tensor values = tensor({1.0, -2.0, 0.5}, {3});

}  // namespace

BOOST_AUTO_TEST_SUITE(check_gradient)

BOOST_AUTO_TEST_CASE(a_right_gradient_passes_and_every_element_is_counted) {
  const Tensor b = tensor({1.0, 2.0, 3.0, 4.0, 5.0, 6.0}, {3, 2});
  const GradientReport report =
      blockgrad::check_gradient([](auto x) { return tanh(matmul(x[0], x[1])); }, {values, b});
  BOOST_TEST(report.passed());
  BOOST_TEST(report.error() < 1e-9);
  BOOST_TEST(report.comparisons() == 9);
  BOOST_TEST(report.checks.size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_wrong_factor_is_named_with_its_worst_element) {
  const auto wrong = [](auto x) { return make(Squared{2.5}, {x[0]}); };
  const GradientReport report = blockgrad::check_gradient(wrong, {values}, {.throws = false});
  BOOST_TEST(!report.passed());
  BOOST_TEST(report.checks[0].worst == 1);
  BOOST_TEST(report.checks[0].gradient / report.checks[0].slope == 1.25,
             boost::test_tools::tolerance(1e-6));
  const std::string text = error_of([&] { blockgrad::check_gradient(wrong, {values}); });
  BOOST_TEST(text.find("check_gradient (check_gradient_test.cpp:") == 0, text);
  BOOST_TEST(
      text.find("): the gradient is wrong\ninput 0: 3 elements, the worst is 1: gradient -") !=
          std::string::npos,
      text);
  BOOST_TEST(text.find(" exceeds 1e-06\n") != std::string::npos, text);
  BOOST_TEST(
      blockgrad::check_gradient([](auto x) { return make(Squared{}, {x[0]}); }, {values}).passed());
}

BOOST_AUTO_TEST_CASE(a_wrong_gradient_of_the_gradient_is_found_when_asked_for) {
  const auto op = [](auto x) { return make(Doubled{}, {x[0]}); };
  BOOST_TEST(blockgrad::check_gradient(op, {values}).passed());
  const GradientReport report =
      blockgrad::check_gradient(op, {values}, {.second_order = true, .throws = false});
  BOOST_TEST(!report.passed());
  BOOST_TEST(report.checks[0].error < 1e-6);
  BOOST_TEST(report.checks[1].order == 2);
  BOOST_TEST(report.checks[1].error > 0.01);
}

BOOST_AUTO_TEST_CASE(a_linear_function_has_a_flat_second_order) {
  const GradientReport report = blockgrad::check_gradient([](auto x) { return x[0] * 3.0; },
                                                          {values}, {.second_order = true});
  BOOST_TEST(report.comparisons() == 6);
}

BOOST_AUTO_TEST_CASE(integers_and_bools_are_fed_and_not_moved) {
  const Tensor rows = tensor({2, 0, 2}, {3});
  const Tensor choice = tensor({true, false, true}, {3});
  const GradientReport report = blockgrad::check_gradient(
      [](auto x) { return where(x[2], take(x[0], x[1]), 0.0); }, {values, rows, choice});
  BOOST_TEST(report.checks.size() == 1u);
}

BOOST_AUTO_TEST_CASE(an_empty_input_has_nothing_to_compare) {
  const GradientReport report =
      blockgrad::check_gradient([](auto x) { return sum(x[0]); }, {zeros({0, 2}, DType::f64)});
  BOOST_TEST(report.passed());
  BOOST_TEST(report.comparisons() == 0);
  BOOST_TEST(to_string(report) == "input 0: 0 elements\n");
}

BOOST_AUTO_TEST_CASE(a_nan_is_an_infinite_error) {
  const GradientReport report =
      blockgrad::check_gradient([](auto x) { return log(x[0]); }, {values}, {.throws = false});
  BOOST_TEST(std::isinf(report.error()));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_checked_is_refused_with_the_line) {
  const auto message = [](const std::function<void()>& call) {
    const std::string text = error_of(call);
    BOOST_TEST(text.find("check_gradient (check_gradient_test.cpp:") == 0, text);
    return text.substr(text.find("): ") + 3);
  };
  BOOST_TEST(message([] {
               blockgrad::check_gradient([](auto x) { return x[0]; }, {zeros({2})});
             }) == "input 0 is f32; differences need f64");
  BOOST_TEST(message([] {
               blockgrad::check_gradient([](auto x) { return x[0] > 0.0; }, {values});
             }) == "the function gave bool[3]; differences need f64");
  BOOST_TEST(message([] { blockgrad::check_gradient([](auto) { return Expr(); }, {values}); }) ==
             "the function gave an empty Expr");
  BOOST_TEST(message([] {
               blockgrad::check_gradient([](auto x) { return astype(x[0], DType::f64); },
                                         {tensor({1, 2}, {2})});
             }) == "no input is f64, so there is no gradient to check");
}

BOOST_AUTO_TEST_CASE(mistakes_name_the_line_of_the_call_and_no_other) {
  const auto stopped = [](auto x) { return stop_gradient(x[0]); };
  const std::string text = error_of([&] { blockgrad::check_gradient(stopped, {values}); });
  const std::string at = "check_gradient_test.cpp:" + std::to_string(__LINE__ - 1);
  const std::string before = "check_gradient_test.cpp:" + std::to_string(__LINE__ - 3);
  BOOST_TEST(text == "gradient of sum (" + at + ") asked for at " + at +
                         ":\n  no gradient reaches input 'x0' (" + at +
                         "): every path is cut, at stop_gradient (" + before + ")");
}

BOOST_AUTO_TEST_SUITE_END()
