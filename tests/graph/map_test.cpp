// Maps: formulas of the user, repeated inputs, numbers, and multi-result gradients.
#include "blockgrad/graph/map.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <string>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/reductions.h"

using namespace blockgrad;

BOOST_AUTO_TEST_SUITE(map)

BOOST_AUTO_TEST_CASE(a_repeated_input_becomes_one_input) {
  const Expr x = input("x", {3}, DType::f64);
  const Expr y = x * x;
  BOOST_TEST(y.node()->inputs.size() == 1);
  BOOST_TEST((y.node()->inputs[0] == x));
}

BOOST_AUTO_TEST_CASE(a_formula_that_is_its_argument_makes_no_node) {
  const Expr x = input("x", {3}, DType::f64);
  BOOST_TEST((x * 1.0 == x));
  BOOST_TEST((astype(x, DType::f64) == x));
  BOOST_TEST(((1.0 * x * 1.0) - 0.0 == x));
}

BOOST_AUTO_TEST_CASE(inputs_that_a_formula_does_not_read_are_left_out) {
  const Expr a = input("a", {3}, DType::f64), b = input("b", {2, 3}, DType::f64);
  const auto second = elementwise([](auto, auto y) { return y * 2; });
  const Expr y = second(b, a);  // the shape still is that of both
  BOOST_TEST(y.node()->inputs.size() == 1);
  BOOST_TEST((y.shape() == Shape{2, 3}));
  const auto fixed = elementwise([](auto) { return Scalar(4); });
  const Expr four = fixed(b);
  BOOST_TEST((four.shape() == Shape{2, 3}));
  BOOST_TEST(evaluate(four, {{b, zeros({2, 3}, DType::f64)}}).at(5) == 4);
  const Tensor g = evaluate(grad(sum(four * b), {b})[0], {{b, zeros({2, 3}, DType::f64)}});
  BOOST_TEST(g.at(0) == 4);
}

BOOST_AUTO_TEST_CASE(all_gradients_of_a_formula_share_one_map) {
  const Expr a = input("a", {3}, DType::f64), b = input("b", {3}, DType::f64),
             c = input("c", {3}, DType::f64);
  const auto formula = elementwise([](auto x, auto y, auto z) { return tanh(x * y + z) * y; });
  const std::vector<Expr> g = grad(sum(formula(a, b, c)), {a, b, c});
  BOOST_TEST((g[0].node() == g[1].node()));
  BOOST_TEST((g[1].node() == g[2].node()));
}

BOOST_AUTO_TEST_CASE(the_gradient_of_a_formula_around_relu_does_not_compute_it_again) {
  const Expr x = input("x", {3}, DType::f64);
  const auto formula = elementwise([](auto a) { return relu(a * 2) * 3; });
  const Expr g = grad(sum(formula(x)), {x})[0];
  const std::string text = g.node()->op->print();
  BOOST_TEST(text.find("greater") != std::string::npos, text);
  BOOST_TEST(text.find("relu") == std::string::npos, text);
  BOOST_TEST(evaluate(g, {{x, tensor({-1, 0, 2}, {3}).astype(DType::f64)}}).at(2) == 6);
}

BOOST_AUTO_TEST_CASE(only_numbers_make_a_scalar) {
  const Expr y = blockgrad::map("add", {2.0, 3.0}, [](auto s) { return s[0] + s[1]; });
  BOOST_TEST((y.type() == TensorType{DType::f32, {}}));
  BOOST_TEST(evaluate(y).at(0) == 5);
}

BOOST_AUTO_TEST_CASE(sums_of_many_parts_run_from_left_to_right) {
  std::vector<Expr> parts;
  double expected = 0;
  for (int i = 0; i < 8; ++i) {
    parts.push_back(constant(full({}, 0.1 * (i + 1), DType::f64)));
    expected += 0.1 * (i + 1);
  }
  BOOST_TEST(evaluate(sum_of(parts)).at(0) == expected);
  for (int i = 8; i < 100; ++i) parts.push_back(constant(full({}, 1, DType::f64)));
  BOOST_TEST(std::abs(evaluate(sum_of(parts)).at(0) - expected - 92) < 1e-12);
}

BOOST_AUTO_TEST_SUITE_END()
