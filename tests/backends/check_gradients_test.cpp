// compile(..., {.check_gradients = true}): every op of a program against central differences.
#include <boost/test/unit_test.hpp>
#include <string>

#include "blockgrad/blockgrad.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

// 3 x, with a slope of `slope`.
struct Triple {
  static constexpr std::string_view name = "triple";
  Number slope = 3;
  bool operator==(const Triple&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward& b) const { return {b.dy() * slope.value}; }
  Expr expand(std::span<const Expr> in) const { return in[0] * 3.0; }
};

// Takes f32 alone.
struct Narrow {
  static constexpr std::string_view name = "narrow";
  bool is_wrong = false;
  bool operator==(const Narrow&) const = default;
  TensorType infer(Types in) const {
    require(in[0].dtype == DType::f32, "wants f32, got ", in[0].dtype);
    return in[0];
  }
  std::vector<Expr> vjp(const Backward& b) const {
    return {b.dy() * (is_wrong ? 1.0 : 2.0) * b.input(0)};
  }
  Expr expand(std::span<const Expr> in) const { return square(in[0]); }
};

struct Silent {
  static constexpr std::string_view name = "silent";
  bool operator==(const Silent&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward&) const { return {Expr()}; }
  Expr expand(std::span<const Expr> in) const { return in[0] * 1.5; }
};

const CompileOptions checks{.check_gradients = true};

}  // namespace

BOOST_AUTO_TEST_SUITE(check_gradients)

BOOST_AUTO_TEST_CASE(the_ops_of_a_training_step_pass) {
  const Expr x = input("x", {6, 5}), t = input("t", {6}, DType::i32);
  const Expr w = parameter(zeros({5, 4}), "w"), b = parameter(zeros({4}), "b");
  Optimizer optimizer(Sgd{.learning_rate = 0.1, .momentum = 0.9});
  const Loss loss = cross_entropy(tanh(linear(x, w, b)) + relu(matmul(x, w)), t);
  const Program step = compile({loss}, minimize(optimizer, loss), cpu(), checks);
  BOOST_TEST(step.report().gradients_checked > 10);
  for (const std::string& text : step.report().gradients_not_checked) BOOST_TEST(text == "");
  BOOST_TEST(compile({loss}).report().gradients_checked == 0);
}

BOOST_AUTO_TEST_CASE(ops_of_many_kinds_pass) {
  const Expr x = input("x", {4, 6}), i = input("i", {3}, DType::i32);
  const Expr c = input("c", {4, 6}, DType::boolean);
  const Expr rows[] = {x, x * 2.0};
  const Program program =
      compile({softmax(x), log_softmax(x, 0), logsumexp(x, 1), max(x, 0), min(x), mean(x),
               take(x, i), where(c, x, exp(x)), concat(rows, 0), transpose(x), slice(x, 1, 1, 5, 2),
               sqrt(abs(x)), log(sigmoid(x)), astype(x, DType::f64), clip(x, -0.5, 0.5),
               maximum(x, 0.25), stop_gradient(x), floor(x), checkpoint(x)},
              {}, cpu(), checks);
  BOOST_TEST(program.report().gradients_checked >= 17);
  for (const std::string& text : program.report().gradients_not_checked) BOOST_TEST(text == "");
}

BOOST_AUTO_TEST_CASE(all_wrong_gradients_are_named_with_their_lines) {
  const Expr x = input("x", {2, 3});
  const int line = __LINE__ + 1;
  const Expr good = make(Triple{}, {x}), bad = make(Triple{2.5}, {good});
  const Expr worse = make(Silent{}, {bad});
  const std::string text = error_of([&] { compile({sum(worse)}, {}, cpu(), checks); });
  const std::string where = "(check_gradients_test.cpp:" + std::to_string(line) + ")";
  BOOST_TEST(contains(text, "check_gradients: 2 of the ops here have a wrong gradient"), text);
  BOOST_TEST(contains(text, "\n  triple " + where +
                                ": input 0: along a random direction the "
                                "gradient gives "),
             text);
  BOOST_TEST(contains(text, "silent (check_gradients_test.cpp:" + std::to_string(line + 1)), text);
  BOOST_TEST(contains(text, "has no gradient for input 0"), text);
  BOOST_TEST(error_of([&] { compile({sum(good)}, {}, cpu(), checks); }) == "no error");
}

BOOST_AUTO_TEST_CASE(an_op_that_takes_f32_alone_is_checked_in_f32) {
  const Expr x = input("x", {5});
  const Program fine = compile({make(Narrow{false}, {x})}, {}, cpu(), checks);
  BOOST_TEST(fine.report().gradients_checked == 1);
  BOOST_TEST(contains(error_of([&] { compile({make(Narrow{true}, {x})}, {}, cpu(), checks); }),
                      "narrow (check_gradients_test.cpp:"));
}

BOOST_AUTO_TEST_CASE(a_gradient_of_ones_own_is_meant_to_differ) {
  const Expr x = input("x", {3});
  const Expr y =
      custom_gradient(round(x), {x}, [](const Backward& b) { return std::vector{b.dy()}; });
  BOOST_TEST(error_of([&] { compile({sum(y)}, {}, cpu(), checks); }) == "no error");
}

BOOST_AUTO_TEST_SUITE_END()
