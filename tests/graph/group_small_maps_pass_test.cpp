// group_small_maps: which Maps run as one node, and that bits stay equal.
#include <boost/test/unit_test.hpp>

#include "blockgrad/blockgrad.h"
#include "graph/map_group.h"
#include "graph/passes/passes.h"
#include "tests/support/checks.h"

using namespace blockgrad;

namespace {

Graph grouped(const std::vector<Expr>& outputs, const Updates& updates = {}) {
  const Graph graph =
      group_small_maps(build_graph(outputs, updates, [](const Op&) { return true; }));
  verify(graph, "group_small_maps");
  return graph;
}

/// How many Maps there are in each group.
std::vector<std::size_t> sizes(const Graph& graph) {
  std::vector<std::size_t> all;
  for (const GraphNode& node : graph.nodes) {
    if (const auto* group = node.op.as<MapGroup>()) all.push_back(group->sets(node.inputs.size()));
  }
  return all;
}

using Sizes = std::vector<std::size_t>;

}  // namespace

BOOST_AUTO_TEST_SUITE(group_small_maps_pass)

BOOST_AUTO_TEST_CASE(equal_formulas_over_a_few_elements_are_one_node) {
  const Expr a = input("a", {}), b = input("b", {3}), c = input("c", {1000});
  BOOST_TEST(sizes(grouped({exp(a), exp(b), exp(c), sin(a)})) == Sizes{2});
}

BOOST_AUTO_TEST_CASE(a_map_is_not_grouped_with_one_that_it_waits_for) {
  const Expr a = input("a", {});
  const Expr once = exp(a), twice = exp(reshape(exp(once), {1}));
  BOOST_TEST(sizes(grouped({once, twice})) == Sizes{});
  const Expr other = input("b", {});
  // Three, or two and two, as they are met.
  std::size_t all = 0;
  for (const std::size_t size : sizes(grouped({exp(exp(a)), exp(exp(other))}))) all += size;
  BOOST_TEST(all >= 2);
}

BOOST_AUTO_TEST_CASE(groups_do_not_wait_for_each_other_in_a_circle) {
  const Expr a = input("a", {}), b = input("b", {});
  // exp before sin on one side, sin before exp on the other: one pair at most can be joined.
  BOOST_TEST(sizes(grouped({sin(exp(a)), exp(sin(b))})).size() <= 1);
}

BOOST_AUTO_TEST_CASE(an_update_that_nothing_else_reads_stays_for_itself) {
  const Expr m = state(zeros({}), "m"), n = state(zeros({}), "n");
  Updates updates;
  updates.set(m, m + 1.0);
  updates.set(n, n + 1.0);
  BOOST_TEST(sizes(grouped({}, updates)) == Sizes{});
  BOOST_TEST(sizes(grouped({(m + 1.0) * 2.0}, updates)) == Sizes{});
}

BOOST_AUTO_TEST_SUITE_END()
