// Gradients: shared inputs, several results, gradients of gradients, and complete errors.
#include "blockgrad/graph/grad.h"

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/view.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/index.h"
#include "blockgrad/ops/linalg.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;
namespace utf = boost::unit_test;

namespace {

double value_at(const Expr& y, const Expr& x, double value) {
  return evaluate(y, {{x, full({}, value, x.dtype())}}).at(0);
}

// y_0 = 2 x, y_1 = 3 x, with a gradient that says which results it got.
struct Twice {
  static constexpr std::string_view name = "twice";
  bool operator==(const Twice&) const = default;
  std::vector<TensorType> infer(Types in) const { return {in[0], in[0]}; }
  std::vector<Expr> vjp(const Backward& b) const { return {b.dy(0) * 2.0 + b.dy(1) * 3.0}; }
  std::vector<Expr> expand(std::span<const Expr> in) const { return {in[0] * 2.0, in[0] * 3.0}; }
};

// No gradient, and it does not say so.
struct Silent {
  static constexpr std::string_view name = "silent";
  int number = 0;
  bool operator==(const Silent&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward&) const { return {Expr()}; }
};

// A gradient of the wrong shape.
struct Crooked {
  static constexpr std::string_view name = "crooked";
  bool operator==(const Crooked&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward& b) const { return {sum(b.dy())}; }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(grad)

using blockgrad::grad;

BOOST_AUTO_TEST_CASE(shared_input_receives_the_sum_of_its_gradients, *utf::tolerance(1e-12)) {
  const Expr x = input("x", {}, DType::f64), y = x * x + x;
  BOOST_TEST(value_at(grad(y, {x})[0], x, 3) == 7.0);
  const Expr m = input("m", {2, 2}, DType::f64);
  const Tensor g =
      evaluate(grad(sum(matmul(m, m)), {m})[0], {{m, tensor({1.0, 2.0, 3.0, 4.0}, {2, 2})}});
  BOOST_TEST(g.at(0) == 1 + 2 + 1 + 3.0);
}

BOOST_AUTO_TEST_CASE(gradients_of_gradients_are_nodes_like_any_other, *utf::tolerance(1e-12)) {
  const Expr x = input("x", {}, DType::f64);
  Expr d = sin(x) * exp(x);
  for (int order = 0; order < 4; ++order) d = grad(d, {x})[0];
  BOOST_TEST(value_at(d, x, 0.7) == -4 * std::sin(0.7) * std::exp(0.7));
}

BOOST_AUTO_TEST_CASE(the_gradient_by_itself_is_one) {
  const Expr x = input("x", {}, DType::f64);
  BOOST_TEST(value_at(grad(x, {x})[0], x, 5) == 1);
  const Expr y = exp(x);
  const std::vector<Expr> g = grad(y, {y, x});
  BOOST_TEST(value_at(g[0], x, 2) == 1);
  BOOST_TEST(std::abs(value_at(g[1], x, 2) - std::exp(2.0)) < 1e-12);
}

BOOST_AUTO_TEST_CASE(gradients_by_inner_values_and_repeated_requests) {
  const Expr x = input("x", {}, DType::f64), inner = x * 3.0, y = inner * inner * x;
  const std::vector<Expr> g = grad(y, {inner, x, inner});
  BOOST_TEST(value_at(g[0], x, 2) == 2 * 6 * 2);
  BOOST_TEST(value_at(g[1], x, 2) == 27 * 4);
  BOOST_TEST(value_at(g[2], x, 2) == 2 * 6 * 2);
}

BOOST_AUTO_TEST_CASE(every_result_of_an_op_sends_its_share) {
  const Expr x = input("x", {}, DType::f64);
  const std::vector<Expr> both = make_all(Twice{}, {x});
  BOOST_TEST(value_at(grad(both[0] * both[1], {x})[0], x, 5) == 60);
  BOOST_TEST(value_at(grad(both[1], {x})[0], x, 5) == 3);  // nothing flows into the first
  BOOST_TEST(value_at(grad(both[0] * both[1], {both[1]})[0], x, 5) == 10);
}

BOOST_AUTO_TEST_CASE(a_stopped_gradient_flows_no_further) {
  const Expr x = input("x", {}, DType::f64);
  const Expr y = x * stop_gradient(x * x);
  BOOST_TEST(value_at(y, x, 3) == 27);
  BOOST_TEST(value_at(grad(y, {x})[0], x, 3) == 9);
  BOOST_TEST(
      contains(error_of([&] { grad(stop_gradient(x), {x}); }), "no gradient reaches input 'x'"));
}

BOOST_AUTO_TEST_CASE(a_vector_jacobian_product_takes_any_shape) {
  const Expr x = input("x", {2, 3}, DType::f64), dy = input("dy", {2, 3}, DType::f64);
  const Expr wrt[] = {x};
  const Tensor g = evaluate(vjp(x * x, dy, wrt)[0],
                            {{x, full({2, 3}, 2, DType::f64)}, {dy, full({2, 3}, 5, DType::f64)}});
  BOOST_TEST(g.at(3) == 20);
  BOOST_TEST(contains(error_of([&] { vjp(x * x, sum(dy), wrt); }), "must be f64[2, 3], got f64[]"));
}

BOOST_AUTO_TEST_CASE(all_that_is_wrong_is_named_in_one_error) {
  const Expr x = input("x", {}, DType::f64), stranger = input("stranger", {}, DType::f64),
             other = input("other", {}, DType::f64);
  const Expr y = make(Silent{1}, {x}) * make(Silent{2}, {x * 2.0}) * make(Silent{3}, {x * 3.0});
  const std::string text = error_of([&] { grad(y, {x, stranger, other}); });
  BOOST_TEST(contains(text, "no gradient reaches input 'stranger' (grad_test.cpp:"), text);
  BOOST_TEST(contains(text, "no gradient reaches input 'other' (grad_test.cpp:"), text);
  BOOST_TEST(contains(text, "does not depend on it"), text);
  int named = 0;
  for (std::size_t p = text.find("\n  silent (grad_test.cpp:"); p != std::string::npos;
       p = text.find("\n  silent (grad_test.cpp:", p + 1))
    ++named;
  BOOST_TEST(named == 3, text);
  BOOST_TEST(contains(text, "has no gradient for input 0"), text);
}

BOOST_AUTO_TEST_CASE(questions_without_an_answer_are_refused) {
  const Expr x = input("x", {2}, DType::f64), i = input("i", {}, DType::i32);
  BOOST_TEST(contains(error_of([&] { grad(x * 2.0, {x}); }),
                      "it must be a scalar, it has shape [2]; use mean or sum"));
  BOOST_TEST(contains(error_of([&] { grad(i, {i}); }), "it must be floating, it is i32[]"));
  BOOST_TEST(contains(error_of([&] { grad(sum(x), {Expr()}); }),
                      "the gradient by an empty Expr (grad_test.cpp:"));
  BOOST_TEST(contains(error_of([&] { grad(Expr(), {x}); }),
                      "the gradient of an empty Expr (grad_test.cpp:"));
  BOOST_TEST(contains(
      error_of([&] { grad(make(Crooked{}, {sum(x) * 1.5}) + sum(make(Crooked{}, {x})), {x}); }),
      "crooked (grad_test.cpp:"));
  BOOST_TEST(contains(error_of([&] { grad(sum(astype(x > 0.0, DType::f64)), {x}); }),
                      "no gradient reaches input 'x'"));
}

BOOST_AUTO_TEST_CASE(gradient_nodes_carry_the_line_of_the_op_they_belong_to) {
  const Expr x = input("x", {2, 2}, DType::f64);
  const Expr y = sum(exp(x));
  const std::string text = describe(grad(y, {x})[0]);
  BOOST_TEST(text.find("gradient of exp (grad_test.cpp:") == 0, text);
  const std::string second = describe(grad(sum(grad(y, {x})[0]), {x})[0]);
  BOOST_TEST(second.find("gradient of exp (grad_test.cpp:") == 0, second);
}

BOOST_AUTO_TEST_CASE(parameters_are_found_once_each_in_order) {
  const Expr a = parameter(zeros({}), "a"), b = parameter(zeros({}), "b"),
             c = parameter(zeros({}), "c"), s = state(zeros({}), "s");
  const Expr first = a * b, second = b + c * s;
  const Expr both[] = {first, second};
  const std::vector<Expr> found = parameters_of(both);
  BOOST_TEST(found.size() == 3);
  BOOST_TEST((found[0] == a));
  BOOST_TEST((found[1] == b));
  BOOST_TEST((found[2] == c));
}

BOOST_AUTO_TEST_CASE(indices_and_bools_are_passed_by_in_silence) {
  const Expr x = input("x", {3}, DType::f64), i = input("i", {2}, DType::i32);
  const Expr y = sum(where(take(x, i) > 1.0, take(x, i) * 2.0, 0.0));
  const Tensor g =
      evaluate(grad(y, {x})[0], {{x, tensor({1.0, 2.0, 3.0}, {3})}, {i, tensor({2, 2}, {2})}});
  BOOST_TEST(g.at(2) == 4);
  BOOST_TEST(g.at(0) == 0);
}

BOOST_AUTO_TEST_SUITE_END()
