// Sums of products that are larger than their operands: one product, the same sum.
#include "backends/join_products.h"

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "blockgrad/blockgrad.h"
#include "tests/support/count_ops.h"

using namespace blockgrad;
using test_support::count;
namespace tt = boost::test_tools;

namespace {

Graph joined(const std::vector<Expr>& outputs) {
  const auto keeps = [](const Op& op) { return !op->has_expand(); };
  const Graph graph = join_products(build_graph(outputs, {}, keeps));
  verify(graph, "join_products");
  return graph;
}

Tensor waves(const Shape& shape, int seed) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < shape.size(); ++i)
    values.push_back(std::sin(static_cast<double>(3 * i + seed)));
  return tensor(std::span<const double>(values), shape);
}

// A weight that is used at some times.
struct Unrolled {
  Expr w = constant(waves({8, 12}, 1));
  Expr loss;

  explicit Unrolled(int times, std::int64_t rows = 2) {
    for (int t = 0; t < times; ++t) {
      const Expr y = sum(square(matmul(constant(waves({rows, 8}, 5 * t)), w)));
      loss = loss ? loss + y : y;
    }
  }
  Expr gradient() const { return grad(loss, {w})[0]; }
};

void check_equal(const Tensor& got, const Tensor& expected) {
  for (std::int64_t i = 0; i < expected.size(); ++i)
    BOOST_TEST(got.at(i) == expected.at(i), tt::tolerance(1e-13));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(join_products)

BOOST_AUTO_TEST_CASE(products_that_meet_at_a_weight_become_one) {
  for (const int times : {2, 9, 65}) {
    const Unrolled model(times);
    const Graph graph = joined({model.gradient()});
    BOOST_TEST(count<MatMul>(graph) == times + 1);
    BOOST_TEST(count<Unview>(graph) == 2);
    Tensor expected = zeros({8, 12}, DType::f64);
    for (int t = 0; t < times; ++t) {
      const Expr y = sum(square(matmul(constant(waves({2, 8}, 5 * t)), model.w)));
      expected = evaluate(constant(expected) + grad(y, {model.w})[0]);
    }
    check_equal(evaluate(model.gradient()), expected);
  }
}

BOOST_AUTO_TEST_CASE(products_smaller_than_their_operands_are_added) {
  const Unrolled model(3, 50);
  BOOST_TEST(count<MatMul>(joined({model.gradient()})) == 6);
}

BOOST_AUTO_TEST_CASE(a_product_that_others_read_stays) {
  const Unrolled model(2);
  const Expr other = model.w + constant(waves({8, 12}, 7));
  const Expr loss = model.loss + sum(square(matmul(constant(waves({2, 8}, 9)), other)));
  const std::vector<Expr> both = grad(loss, {model.w, other});
  BOOST_TEST(count<MatMul>(joined({both[0]})) == 3 + 1);
  BOOST_TEST(count<MatMul>(joined(both)) == 3 + 2);
  check_equal(evaluate(both[0]), evaluate(model.gradient() + both[1]));
}

BOOST_AUTO_TEST_CASE(what_is_no_product_is_added_behind) {
  const Unrolled model(3);
  const Expr loss = model.loss + sum(square(model.w));
  const Expr gradient = grad(loss, {model.w})[0];
  BOOST_TEST(count<MatMul>(joined({gradient})) == 3 + 1);
  check_equal(evaluate(gradient), evaluate(model.gradient() + 2.0 * model.w));
}

BOOST_AUTO_TEST_CASE(what_a_user_adds_is_added_in_the_order_that_was_written) {
  const auto thin = [](double value) { return full({9, 1}, value, DType::f64); };
  const Expr one = constant(full({1, 9}, 1, DType::f64));
  const auto product = [&](double value) { return matmul(constant(thin(value)), one); };
  const Expr large = constant(full({9, 9}, -1e20, DType::f64));
  BOOST_TEST(evaluate(product(1e20) + product(-1e20) + product(1)).at(0) == 1);
  BOOST_TEST(evaluate(product(1e20) + large + product(1)).at(0) == 1);
}

BOOST_AUTO_TEST_CASE(only_sums_are_joined) {
  const Expr a = constant(waves({9, 1}, 1)), b = constant(waves({1, 9}, 2));
  const Expr p = matmul(a, b), q = matmul(a * 2.0, b);
  for (const Expr& e : {p - q, p * q, p + 2.0 * q, -(p + p)})
    BOOST_TEST(count<Unview>(joined({e})) == 0);
}

// One product that sums over everything, from matrices that are stacked where they are made.
BOOST_AUTO_TEST_CASE(a_recurrent_weight_has_one_product_of_what_lies_there) {
  const Expr x = input("x", {4, 16, 32}), zero = constant(zeros({4, 32}));
  const CellWeights w{parameter(waves({32, 128}, 1).astype(DType::f32), "w"),
                      parameter(waves({32, 128}, 2).astype(DType::f32), "u")};
  const Expr loss = sum(square(lstm(x, zero, zero, w).h));
  const Program program = compile({grad(loss, {w.input})[0], grad(loss, {w.hidden})[0]});
  const std::string text = program.explain();
  BOOST_TEST(text.find("32x128x64 ") != std::string::npos, text);
  BOOST_TEST(text.find("16 parts into [64, 128], made in place") != std::string::npos, text);
}

BOOST_AUTO_TEST_SUITE_END()
