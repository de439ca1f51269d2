// group_reductions: which reductions run as one node, and that numbers stay bit for bit what the
// reductions alone give, for every number of threads.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "blockgrad/blockgrad.h"
#include "blockgrad/graph/map.h"
#include "graph/passes/passes.h"
#include "graph/reduce_group.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using test_support::same_bits;

namespace {

Graph grouped(const std::vector<Expr>& outputs, const Updates& updates = {}) {
  const auto keeps = [](const Op& op) { return !op->has_expand(); };
  const Graph graph =
      group_reductions(fuse_maps(merge_equal(simplify(build_graph(outputs, updates, keeps)))));
  verify(graph, "group_reductions");
  return graph;
}

std::vector<std::size_t> group_sizes(const Graph& graph) {
  std::vector<std::size_t> sizes;
  for (const GraphNode& node : graph.nodes) {
    if (const auto* group = node.op.as<ReduceGroup>()) sizes.push_back(group->shapes.size());
  }
  return sizes;
}

using Sizes = std::vector<std::size_t>;

Tensor waves(const Shape& shape, DType dtype = DType::f32) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < shape.size(); ++i)
    values.push_back(std::sin(0.7 * static_cast<double>(i)) * (1 + static_cast<double>(i % 97)));
  return tensor(std::span<const double>(values), shape).astype(dtype);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(group_reductions_pass)

BOOST_AUTO_TEST_CASE(finite_checks_are_a_node_per_large_gradient_and_one_for_the_others) {
  const Expr x = input("x", {4, 300}), a = parameter(zeros({300, 200}), "a"),
             b = parameter(zeros({200, 10}), "b"), c = parameter(zeros({10}), "c");
  Optimizer optimizer(Sgd{.learning_rate = 0.1});
  const Loss loss = mse_loss(linear(tanh(matmul(x, a)), b, c), constant(zeros({4, 10})));
  const Graph graph = grouped({mean(loss)}, minimize(optimizer, loss));
  BOOST_TEST((group_sizes(graph) == Sizes{2, 1} || group_sizes(graph) == Sizes{1, 2}));
  for (const GraphNode& node : graph.nodes) {
    const Map* map = node.op.as<Map>();
    BOOST_TEST(!(map && node.types[0].dtype == DType::boolean && node.types[0].shape.size() > 1));
  }
}

BOOST_AUTO_TEST_CASE(what_is_small_or_reduces_lines_or_picks_positions_stays) {
  const Expr x = input("x", {300, 300}), y = input("y", {90});
  BOOST_TEST(group_sizes(grouped({sum(y), sum(x, 1), argmax(reshape(x, {90000}), 0)})) == Sizes{});
  BOOST_TEST(group_sizes(grouped({sum(x)})) == Sizes{1});
}

BOOST_AUTO_TEST_CASE(reductions_that_wait_for_each_other_or_let_values_die_stay_apart) {
  const Expr x = input("x", {170, 170}), w = input("w", {150, 150});
  BOOST_TEST(group_sizes(grouped({sum(square(x)), sum(square(w))})) == Sizes{2});
  BOOST_TEST(group_sizes(grouped({sum(square(x + sum(square(w))))})) == Sizes{});
  // The values between two products need not be there for both.
  const Expr y = matmul(x, x), z = matmul(y, x);
  BOOST_TEST((group_sizes(grouped({sum(y), sum(matmul(z, x))})) == Sizes{}));
}

BOOST_AUTO_TEST_CASE(numbers_are_those_of_the_reductions_alone) {
  for (const std::int64_t n : {32769, 65536, 70001, 116000}) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      const Expr x = input("x", {n}, dtype), rows = input("rows", {n / 100, 100}, dtype),
                 y = input("y", {40}, dtype);
      const std::vector<Output> outputs{sum(x),
                                        sum(exp(x * 0.01)),
                                        sum(exp(y * 0.01)),
                                        max(transpose(rows)),
                                        min(rows * 2.0, {}, true),
                                        all(isfinite(x)),
                                        any(x > 98.0),
                                        sum(astype(x, DType::i32)),
                                        sum(transpose(rows) + 1.0)};
      const Feeds feeds{
          {x, waves({n}, dtype)}, {rows, waves({n / 100, 100}, dtype)}, {y, waves({40}, dtype)}};
      Program alone = compile(outputs, {}, cpu(), {.skip = {"group_reductions"}, .threads = 1});
      const Results expected = alone.run(feeds);
      BOOST_TEST(alone.explain().find("whole value") == std::string::npos);
      for (const int threads : {1, 2, 3, 7}) {
        for (const bool checks : {false, true}) {
          Program program =
              compile(outputs, {}, cpu(), {.threads = threads, .check_numerics = checks});
          BOOST_TEST(program.explain().find("whole value") != std::string::npos);
          const Results got = program.run(feeds);
          for (int i = 0; i < static_cast<int>(outputs.size()); ++i)
            BOOST_TEST(same_bits(got.tensor(i), expected.tensor(i)), "output " << i << " of " << n);
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(one_element_that_is_not_finite_stops_the_update_wherever_it_lies) {
  const std::int64_t n = 40000;
  const Expr x = input("x", {n}), w = parameter(zeros({n}), "w"), b = parameter(zeros({3}), "b");
  Optimizer optimizer(Sgd{.learning_rate = 1});
  const Loss loss{sum(x * w) + sum(b), constant(full({}, 40000)), {}};
  Program program = compile({}, minimize(optimizer, loss));
  BOOST_TEST(program.explain().find("of 1 whole value") != std::string::npos);
  for (const std::int64_t place : {0, 1023, 16384, 39999}) {
    for (const double bad : {std::numeric_limits<double>::infinity(), std::nan("")}) {
      std::vector<double> values(static_cast<std::size_t>(n), 1.0);
      values[static_cast<std::size_t>(place)] = bad;
      program.run({{x, tensor(std::span<const double>(values), {n}).astype(DType::f32)}});
      BOOST_TEST(b.value().at(1) == 0.0);
    }
  }
  program.run({{x, full({n}, 1)}});
  BOOST_TEST(b.value().at(1) != 0.0);
}

BOOST_AUTO_TEST_CASE(a_value_that_overflows_inside_of_a_group_is_found) {
  const Expr x = input("x", {50000});
  Program program = compile({sum(exp(x))}, {}, cpu(), {.check_numerics = true});
  BOOST_TEST(program.run({{x, full({50000}, 0)}}).number(0) == 50000);
  BOOST_CHECK_EXCEPTION(program.run({{x, full({50000}, 100)}}), Error, [](const Error& e) {
    return std::string(e.what()).find("exp") != std::string::npos;
  });
}

BOOST_AUTO_TEST_SUITE_END()
