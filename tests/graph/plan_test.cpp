// Memory plans: no two live values share bytes, and what dies is used again.
#include "graph/plan.h"

#include <boost/test/unit_test.hpp>
#include <random>

#include "blockgrad/blockgrad.h"
#include "blockgrad/graph/leaf.h"
#include "graph/memory_peak.h"
#include "graph/passes/passes.h"
#include "tests/support/plan_check.h"

using namespace blockgrad;
using test_support::check_plan;
using test_support::graph_of;

BOOST_AUTO_TEST_SUITE(plan)

BOOST_AUTO_TEST_CASE(a_peak_names_what_is_there_then_not_what_takes_its_place_later) {
  const Expr p = matmul(input("x", {100, 100}), input("w", {100, 100}));
  const Expr wide = matmul(p, input("v", {100, 1000}));
  const Expr narrow = matmul(wide, input("u", {1000, 100}));
  const Graph graph = graph_of({matmul(p + narrow, input("t", {100, 100}))});
  const Plan plan = make_plan(graph, true);
  BOOST_TEST(plan.in_place == 1);
  const MemoryPeak peak = memory_peak(graph, plan);
  BOOST_TEST(peak.bytes == plan.live_bytes);
  BOOST_TEST_REQUIRE(peak.largest.size() == 3u);
  BOOST_TEST(peak.largest[0].bytes == 400000);
  for (const MemoryPeak::Live& live : peak.largest)
    BOOST_TEST(graph.node(live.value).op->name() == "matmul");
}

BOOST_AUTO_TEST_CASE(a_chain_needs_two_buffers_however_long_it_is) {
  const Expr x = input("x", {1000});
  Expr y = x;
  for (int i = 0; i < 50; ++i)
    y = sum(matmul(reshape(y, Shape{1000, 1}), constant(ones({1, 1}))), 1);
  const Graph graph = graph_of({y});
  const Plan plan = make_plan(graph, true);
  check_plan(graph, plan);
  BOOST_TEST(plan.arena_bytes <= 2 * 4032);
  const Plan apart = make_plan(graph, false);
  check_plan(graph, apart);
  BOOST_TEST(apart.arena_bytes > 40 * 4000);
  BOOST_TEST(plan.arena_bytes + plan.reused_bytes == apart.arena_bytes);
}

BOOST_AUTO_TEST_CASE(maps_work_in_place_where_an_input_dies) {
  const Expr x = input("x", {1000});
  Expr y = exp(x);
  for (int i = 0; i < 10; ++i) y = tanh(y);
  const Graph graph = graph_of({y});
  const Plan plan = make_plan(graph, true);
  check_plan(graph, plan);
  BOOST_TEST(plan.in_place == 10);
  BOOST_TEST(plan.arena_bytes == 4032);
}

BOOST_AUTO_TEST_CASE(an_update_is_in_place_only_where_nobody_else_reads_the_old_value) {
  const Expr w = parameter(ones({4}), "w"), v = parameter(ones({4}), "v");
  const Graph alone = graph_of({}, Updates().set(w, w * 0.5));
  BOOST_TEST(make_plan(alone, true).updates.size() == 1);
  BOOST_TEST(make_plan(alone, true).commits.size() == 0);
  const Graph swap = graph_of({}, Updates().set(w, v).set(v, w));
  const Plan plan = make_plan(swap, true);
  check_plan(swap, plan);
  BOOST_TEST(plan.commits.size() >= 1);
  const Graph output = graph_of({w * 0.5}, Updates().set(w, w * 0.5));
  BOOST_TEST(make_plan(output, true).commits.size() == 1);
}

BOOST_AUTO_TEST_CASE(the_bytes_live_at_once_are_those_of_the_lives_that_the_plan_shows) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    std::mt19937 random(seed);
    std::vector<Expr> pool = {input("a", {30, 40}), parameter(ones({30, 40}), "w")};
    const auto pick = [&] { return pool[random() % pool.size()]; };
    for (int i = 0; i < 20; ++i) {
      const Expr a = pick(), b = pick();
      if (random() % 3 == 0) pool.push_back(a * tanh(b));
      else if (random() % 2 == 0) pool.push_back(matmul(a, matmul(transpose(b), a)));
      else pool.push_back(a - broadcast_to(sum(b, 0), {30, 40}));
    }
    const Graph graph = graph_of({pool.back(), pick()}, Updates().set(pool[1], pick()));
    const Plan plan = make_plan(graph, true);
    BOOST_TEST(memory_peak(graph, plan).bytes == plan.live_bytes, "seed " << seed);
    BOOST_TEST(live_bytes(graph) == plan.live_bytes);
    BOOST_TEST(live_bytes(shorten_lives(graph)) <= plan.live_bytes);
  }
}

BOOST_AUTO_TEST_CASE(plans_of_random_graphs_keep_every_value_to_its_last_use) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    std::vector<Expr> pool = {input("a", {3, 4}), parameter(ones({3, 4}), "w"),
                              state(ones({3, 4}), "s")};
    const auto pick = [&] { return pool[random() % pool.size()]; };
    for (int i = 0; i < 25; ++i) {
      switch (random() % 5) {
        case 0: pool.push_back(pick() * pick()); break;
        case 1: pool.push_back(tanh(pick()) + pick()); break;
        case 2: pool.push_back(reshape(transpose(pick()), Shape{3, 4})); break;
        case 3: pool.push_back(pick() - broadcast_to(sum(pick(), 0), {3, 4})); break;
        default: pool.push_back(matmul(pick(), matmul(transpose(pick()), pick()))); break;
      }
    }
    const Graph graph =
        graph_of({pick(), pool.back()}, Updates().set(pool[1], pick()).set(pool[2], pick()));
    BOOST_TEST_CONTEXT("seed " << seed) {
      check_plan(graph, make_plan(graph, true));
      check_plan(graph, make_plan(graph, false));
      const Graph fused = fuse_maps(graph);
      check_plan(fused, make_plan(fused, true));
      const Graph ordered = shorten_lives(fused);
      verify(ordered, "shorten_lives");
      check_plan(ordered, make_plan(ordered, true));
      BOOST_TEST(ordered.nodes.size() == fused.nodes.size());
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
