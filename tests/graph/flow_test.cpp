// Ops that change no value and steer what flows back.
#include "blockgrad/graph/flow.h"

#include <boost/test/unit_test.hpp>
#include <string>

#include "blockgrad/blockgrad.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

// The gradient passes a rounding as if it were not there.
Expr straight_through(const Expr& x, SourceLoc where = SourceLoc::here()) {
  return custom_gradient(
      round(x), {x}, [](const Backward& b) { return std::vector{b.dy()}; }, where);
}

struct Slope {
  Number value;
  bool operator==(const Slope&) const = default;
};

std::vector<Expr> sloped(const Backward& b, const Slope& slope) {
  return {b.dy() * slope.value.value};
}
std::vector<Expr> steeper(const Backward& b, const Slope& slope) {
  return {b.dy() * (2 * slope.value.value)};
}

template <class F>
concept Accepted = requires(const Expr& e, F f) { custom_gradient(e, {e}, f); };

const double factor = 2;
constexpr auto plain = [](const Backward& b) { return std::vector{b.dy()}; };
const auto capturing = [own = Expr()](const Backward&) { return std::vector{own}; };
static_assert(Accepted<decltype(plain)>);
static_assert(!Accepted<decltype(capturing)>, "captures would dangle and have no ==");

double value_at(const Expr& y, const Expr& x, double value) {
  return evaluate(y, {{x, full({}, value, x.dtype())}}).at(0);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(flow)

BOOST_AUTO_TEST_CASE(a_custom_gradient_replaces_the_one_that_follows) {
  const Expr x = input("x", {}, DType::f64);
  const Expr y = straight_through(x * 3.0);
  BOOST_TEST(value_at(y, x, 0.4) == 1);
  BOOST_TEST(value_at(grad(y, {x})[0], x, 0.4) == 3);
  BOOST_TEST(audit(y, {&x, 1}).ok());
  BOOST_TEST(audit(y, {&x, 1}).entries.empty());
}

BOOST_AUTO_TEST_CASE(a_rule_sees_its_inputs_the_value_and_its_attributes) {
  const Expr x = input("x", {}, DType::f64), z = input("z", {}, DType::f64);
  const Expr y = custom_gradient(x * z, {x, z}, [](const Backward& b) {
    return std::vector{b.dy() * b.y(), b.dy() + b.input(0)};
  });
  const std::vector<Feed> feeds{{x, full({}, 2, DType::f64)}, {z, full({}, 5, DType::f64)}};
  const std::vector<Expr> g = grad(y * 1.5, {x, z});
  BOOST_TEST(evaluate(g[0], feeds).at(0) == 15);
  BOOST_TEST(evaluate(g[1], feeds).at(0) == 3.5);
  const Expr s = custom_gradient(exp(x), {x}, Slope{7.0}, sloped);
  BOOST_TEST(value_at(grad(s, {x})[0], x, 1) == 7);
}

BOOST_AUTO_TEST_CASE(custom_gradients_are_equal_by_rule_and_attributes) {
  const Expr x = input("x", {}), y = exp(x);
  const auto op = [&](Slope slope, auto rule) { return custom_gradient(y, {x}, slope, rule).op(); };
  BOOST_TEST((op({1.0}, sloped) == op({1.0}, sloped)));
  BOOST_TEST(!(op({1.0}, sloped) == op({2.0}, sloped)));
  BOOST_TEST(!(op({1.0}, sloped) == op({1.0}, steeper)));
}

BOOST_AUTO_TEST_CASE(gradients_of_custom_gradients_exist) {
  const Expr x = input("x", {}, DType::f64);
  const Expr y = custom_gradient(
      exp(x), {x}, [](const Backward& b) { return std::vector{b.dy() * square(b.input(0))}; });
  const Expr second = grad(grad(y, {x})[0], {x})[0];
  BOOST_TEST(value_at(second, x, 3) == 6);
}

BOOST_AUTO_TEST_CASE(wrong_gradients_of_a_rule_are_named) {
  const Expr x = input("x", {2});
  const int line = __LINE__ + 1;
  const Expr few = custom_gradient(x * factor, {x, x}, plain);
  const Expr crooked =
      custom_gradient(x * factor, {x}, [](const Backward& b) { return std::vector{sum(b.dy())}; });
  const std::string where = "custom_gradient (flow_test.cpp:" + std::to_string(line) + ")";
  BOOST_TEST(error_of([&] {
               grad(sum(few), {x});
             }).find("gradient of " + where + ": the rule gave 1 gradients for 2 inputs") !=
             std::string::npos);
  BOOST_TEST(error_of([&] { grad(sum(crooked), {x}); }).find("has type f32[], expected f32[2]") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(what_a_rule_leaves_out_is_an_error_if_it_is_wanted) {
  const Expr x = input("x", {}), w = input("w", {});
  const Expr y = custom_gradient(x * w, {x}, plain);
  const std::string text = error_of([&] { grad(y, {x, w}); });
  BOOST_TEST(text.find("no gradient reaches input 'w'") != std::string::npos, text);
  BOOST_TEST(
      text.find("every path is cut, at custom_gradient (flow_test.cpp:") != std::string::npos,
      text);
}

BOOST_AUTO_TEST_CASE(a_checkpoint_changes_nothing) {
  const Expr x = input("x", {}, DType::f64);
  const Expr y = square(checkpoint(exp(x)));
  BOOST_TEST(value_at(y, x, 0) == 1);
  BOOST_TEST(value_at(grad(y, {x})[0], x, 0) == 2);
}

BOOST_AUTO_TEST_SUITE_END()
