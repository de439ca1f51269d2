// The order in which nodes run: the same nodes, less memory, updates last.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <ctime>
#include <string>

#include "blockgrad/blockgrad.h"
#include "graph/passes/passes.h"
#include "graph/plan.h"
#include "support/sanitizers.h"

using namespace blockgrad;

namespace {

// Of the processor, which a busy machine does not stretch.
double processor_ms() { return 1e3 * static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

Graph graph_of(std::vector<Expr> outputs, const Updates& updates = {}) {
  const auto keeps = [](const Op& op) { return !op->has_expand(); };
  return fuse_maps(insert_copies(merge_equal(simplify(build_graph(outputs, updates, keeps)))));
}

std::vector<std::string> sorted_names(const Graph& graph) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i)
    names.push_back(graph.describe(static_cast<std::int32_t>(i)) +
                    to_string(graph.nodes[i].types[0]));
  std::sort(names.begin(), names.end());
  return names;
}

// Layers of one width, trained by plain descent.
Graph deep_step(int layers, std::int64_t batch, std::int64_t width) {
  const Expr x = input("x", {batch, width});
  Expr y = x;
  std::vector<Expr> weights;
  for (int l = 0; l < layers; ++l) {
    weights.push_back(parameter(ones({width, width}), "w" + std::to_string(l)));
    y = tanh(matmul(y, weights.back()));
  }
  const std::vector<Expr> gradients = grad(sum(square(y)), weights);
  Updates updates;
  for (std::size_t l = 0; l < weights.size(); ++l)
    updates.set(weights[l], weights[l] - 0.1 * gradients[l]);
  return graph_of({sum(y)}, updates);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(shorten_lives)

BOOST_AUTO_TEST_CASE(gradients_of_weights_are_made_as_soon_as_their_inputs_exist) {
  // Wide batches: what a late weight gradient keeps alive is larger than the gradient itself.
  const Graph graph = deep_step(8, 256, 16);
  const Graph ordered = blockgrad::shorten_lives(graph);
  verify(ordered, "shorten_lives");
  BOOST_TEST(live_bytes(ordered) < live_bytes(graph));
  BOOST_TEST((sorted_names(ordered) == sorted_names(graph)));
  // Eight activations and few more than two adjoints.
  BOOST_TEST(live_bytes(ordered) < 11 * 256 * 16 * 4 + 8 * 16 * 16 * 4);
}

BOOST_AUTO_TEST_CASE(leaves_come_first_and_new_values_last) {
  const Graph ordered = blockgrad::shorten_lives(deep_step(8, 256, 16));
  bool is_leaf_expected = true;
  for (const GraphNode& node : ordered.nodes) {
    BOOST_TEST_REQUIRE((is_leaf_expected || !is_leaf(node)));
    is_leaf_expected = is_leaf(node);
  }
  const auto nodes = static_cast<std::int32_t>(ordered.nodes.size());
  for (const GraphUpdate& u : ordered.updates)
    BOOST_TEST(u.value.node >= nodes - static_cast<std::int32_t>(ordered.updates.size()));
  for (const Value v : ordered.outputs) BOOST_TEST(v.node < nodes - 8);
}

BOOST_AUTO_TEST_CASE(an_order_that_needs_no_more_stays) {
  const Expr x = input("x", {8, 8});
  const Graph graph = graph_of({tanh(matmul(x, x)), sum(x)});
  BOOST_TEST(to_text(blockgrad::shorten_lives(graph)) == to_text(graph));
}

BOOST_AUTO_TEST_CASE(forty_thousand_values_are_ordered_and_planned_in_a_moment) {
  // No Maps are fused away: each layer is a product.
  const Expr w = parameter(ones({2, 2}), "w");
  std::vector<Expr> stack{input("x", {2, 2})};
  for (int i = 0; i < 20000; ++i) stack.push_back(matmul(stack.back(), w));
  Expr y = stack.back();
  for (int i = 20000; i-- > 0;) y = matmul(y, stack[static_cast<std::size_t>(i)]);
  const Graph graph = graph_of({y});
  double plan = 1e9, order = 1e9;
  for (int i = 0; i < 3; ++i) {
    const double start = processor_ms();
    make_plan(graph, true);
    const double middle = processor_ms();
    blockgrad::shorten_lives(graph);
    plan = std::min(plan, middle - start);
    order = std::min(order, processor_ms() - middle);
  }
  std::printf("%zu nodes: planned in %.1f ms, ordered in %.1f ms\n", graph.nodes.size(), plan,
              order);
#if defined(__OPTIMIZE__) && !defined(BG_SANITIZED) && defined(__x86_64__)
  BOOST_TEST(plan <= 50);
  BOOST_TEST(order <= 400);
#endif
}

namespace {

// A value of so many rows, each of which is looked at by itself and put back.
Graph many_rows(std::int64_t rows) {
  const Expr x = parameter(ones({rows, 2}), "x");
  std::vector<Expr> parts;
  for (std::int64_t i = 0; i < rows; ++i) parts.push_back(tanh(slice(x, {{i, i + 1}, {}})));
  const Expr loss = sum(concat(parts, 0));
  return build_graph(std::vector<Expr>{grad(loss, {x})[0]}, {},
                     [](const Op& op) { return !op->has_expand(); });
}

double merge_and_order_ms(const Graph& graph) {
  double best = 1e9;
  for (int i = 0; i < 3; ++i) {
    const double start = processor_ms();
    const Graph ordered = blockgrad::shorten_lives(merge_equal(graph));
    best = std::min(best, processor_ms() - start);
  }
  return best;
}

}  // namespace

// A value with many Views, and a node with many inputs that read nothing but leaves: what is
// quadratic takes 64 times as long for eight times the rows.
BOOST_AUTO_TEST_CASE(a_wide_graph_takes_not_much_longer_per_node_than_a_narrow_one) {
  const double narrow = merge_and_order_ms(simplify(many_rows(500)));
  const double wide = merge_and_order_ms(simplify(many_rows(4000)));
  std::printf("500 rows are merged and ordered in %.2f ms, 4000 in %.2f ms\n", narrow, wide);
#if defined(__OPTIMIZE__) && !defined(BG_SANITIZED) && defined(__x86_64__)
  BOOST_TEST(wide <= 30 * std::max(narrow, 0.5));
#endif
}

BOOST_AUTO_TEST_SUITE_END()
