// Nodes that run a second time so that less memory is needed: fewer bytes, the same graph
// otherwise.
#include <boost/test/unit_test.hpp>
#include <random>
#include <string>
#include <vector>

#include "blockgrad/blockgrad.h"
#include "blockgrad/graph/put_rows.h"
#include "graph/passes/passes.h"
#include "graph/plan.h"

using namespace blockgrad;

namespace {

Graph graph_of(std::vector<Expr> outputs, const Updates& updates = {}) {
  const auto keeps = [](const Op& op) { return !op->has_expand(); };
  return blockgrad::shorten_lives(
      fuse_maps(insert_copies(merge_equal(simplify(build_graph(outputs, updates, keeps))))));
}

int repeats(const Graph& graph) {
  int count = 0;
  for (const GraphNode& node : graph.nodes) count += node.is_repeat;
  return count;
}

// Activations of `layers` layers, all read again on the way back.
Graph training_step(int layers, std::int64_t batch, std::int64_t width) {
  Expr y = input("x", {batch, width});
  std::vector<Expr> weights;
  for (int l = 0; l < layers; ++l) {
    weights.push_back(parameter(ones({width, width}), "w" + std::to_string(l)));
    y = gelu(matmul(y, weights.back()));
  }
  const std::vector<Expr> gradients = grad(sum(square(y)), weights);
  Updates updates;
  for (std::size_t l = 0; l < weights.size(); ++l)
    updates.set(weights[l], weights[l] - 0.1 * gradients[l]);
  return graph_of({sum(y)}, updates);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(recompute)

BOOST_AUTO_TEST_CASE(a_graph_that_fits_stays_as_it_is) {
  const Graph graph = training_step(4, 64, 16);
  BOOST_TEST(to_text(blockgrad::recompute(graph, live_bytes(graph))) == to_text(graph));
}

BOOST_AUTO_TEST_CASE(cheap_nodes_run_again_until_the_rest_fits) {
  const Graph graph = training_step(8, 256, 16);
  const std::int64_t all = live_bytes(graph);
  std::int64_t before = all + 1;
  for (const double part : {0.9, 0.8, 0.7, 0.6}) {
    const auto limit = static_cast<std::int64_t>(part * static_cast<double>(all));
    const Graph less = blockgrad::recompute(graph, limit);
    verify(less, "recompute");
    BOOST_TEST(live_bytes(less) <= limit, part);
    BOOST_TEST(live_bytes(less) < before);
    before = live_bytes(less);
    BOOST_TEST(repeats(less) > 0);
    BOOST_TEST(less.outputs.size() == graph.outputs.size());
    BOOST_TEST(less.updates.size() == graph.updates.size());
  }
}

BOOST_AUTO_TEST_CASE(the_first_to_run_again_are_the_cheapest_for_their_bytes) {
  const Graph graph = training_step(8, 256, 64);  // a product of 16 columns is as cheap as gelu
  const Graph less = blockgrad::recompute(graph, live_bytes(graph) * 85 / 100);
  for (const GraphNode& node : less.nodes) {
    if (node.is_repeat) BOOST_TEST(node.op->name() != "matmul");
  }
}

BOOST_AUTO_TEST_CASE(the_same_graph_is_made_every_time) {
  const Graph graph = training_step(6, 128, 16);
  const std::int64_t limit = live_bytes(graph) * 6 / 10;
  BOOST_TEST(to_text(blockgrad::recompute(graph, limit)) ==
             to_text(blockgrad::recompute(graph, limit)));
}

BOOST_AUTO_TEST_CASE(what_cannot_fit_comes_as_near_as_is_found) {
  const Graph graph = training_step(6, 128, 16);
  const Graph least = blockgrad::recompute(graph, 1);
  verify(least, "recompute");
  BOOST_TEST(live_bytes(least) < live_bytes(graph) * 6 / 10);
  BOOST_TEST(live_bytes(least) > 0);
}

BOOST_AUTO_TEST_CASE(random_graphs_stay_valid_and_never_need_more) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    std::vector<Expr> pool = {input("a", {30, 40}), parameter(ones({30, 40}), "w"),
                              state(ones({30, 40}), "s")};
    const auto pick = [&] { return pool[random() % pool.size()]; };
    for (int i = 0; i < 30; ++i) {
      const Expr a = pick(), b = pick();
      switch (random() % 5) {
        case 0: pool.push_back(a * b); break;
        case 1: pool.push_back(tanh(a) + b); break;
        case 2: pool.push_back(reshape(transpose(a), Shape{30, 40})); break;
        case 3: pool.push_back(a - broadcast_to(sum(b, 0), {30, 40})); break;
        default: pool.push_back(matmul(a, matmul(transpose(b), a))); break;
      }
    }
    const Graph graph =
        graph_of({pick(), pool.back()}, Updates().set(pool[1], pick()).set(pool[2], pick()));
    const std::int64_t all = live_bytes(graph);
    BOOST_TEST_CONTEXT("seed " << seed) {
      for (const std::int64_t limit : {all * 8 / 10, std::int64_t{1}}) {
        const Graph less = blockgrad::recompute(graph, limit);
        verify(less, "recompute");
        BOOST_TEST(live_bytes(less) <= all);
      }
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
