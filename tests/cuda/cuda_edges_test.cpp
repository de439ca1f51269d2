// Which nodes of a step wait for which: every two accesses that conflict are ordered, found by
// clocks that know nothing of how the order was made.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/cuda_edges.h"
#include "blockgrad/blockgrad.h"
#include "models/rows.h"
#include "tests/support/on_cuda.h"

using namespace blockgrad;

namespace {

using Memory = CudaAccess::Memory;

// A node's clock has the nodes that are over when it begins.
std::vector<std::vector<char>> clocks_of(const CudaOrder& order) {
  std::vector<std::vector<char>> clocks(order.size(), std::vector<char>(order.size(), 0));
  for (std::size_t node = 0; node < order.size(); ++node) {
    for (const std::int32_t before : order[node]) {
      const auto& other = clocks[static_cast<std::size_t>(before)];
      for (std::size_t i = 0; i < order.size(); ++i) clocks[node][i] |= other[i];
      clocks[node][static_cast<std::size_t>(before)] = 1;
    }
  }
  return clocks;
}

bool conflict(const CudaAccesses& a, const CudaAccesses& b) {
  for (const CudaAccess& x : a) {
    for (const CudaAccess& y : b) {
      const bool meet = x.memory == y.memory && x.index == y.index && x.first < y.last &&
                        y.first < x.last && (x.writes || y.writes);
      if (meet) return true;
    }
  }
  return false;
}

/// The first two nodes that may run at the same time but must not.
std::optional<std::pair<std::size_t, std::size_t>> race_in(std::span<const CudaAccesses> nodes,
                                                           const CudaOrder& order) {
  const auto clocks = clocks_of(order);
  for (std::size_t b = 0; b < nodes.size(); ++b) {
    for (std::size_t a = 0; a < b; ++a) {
      if (!clocks[b][a] && conflict(nodes[a], nodes[b])) return std::pair(a, b);
    }
  }
  return std::nullopt;
}

std::vector<CudaAccesses> drawn_nodes(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&](std::uint64_t n) { return static_cast<std::int64_t>(random() % n); };
  std::vector<CudaAccesses> nodes(5 + random() % 40);
  for (CudaAccesses& node : nodes) {
    for (auto left = random() % 5; left > 0; --left) {
      const auto memory = static_cast<Memory>(below(5));
      const auto index = static_cast<std::int32_t>(memory == Memory::stored ? below(3) : 0);
      const std::int64_t first = below(60), last = first + 1 + below(25);
      node.push_back({memory, index, first, last, below(3) == 0});
    }
  }
  return nodes;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_edges)

BOOST_AUTO_TEST_CASE(all_conflicts_are_ordered_and_no_edge_is_too_many) {
  std::size_t edges = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    const std::vector<CudaAccesses> nodes = drawn_nodes(seed);
    const CudaOrder order = cuda_order(nodes);
    BOOST_TEST_REQUIRE(!race_in(nodes, order).has_value(), "seed " << seed);
    for (std::size_t node = 0; node < order.size(); ++node) {
      for (std::size_t e = 0; e < order[node].size(); ++e) {
        CudaOrder less = order;
        less[node].erase(less[node].begin() + static_cast<std::ptrdiff_t>(e));
        const auto race = race_in(nodes, less);
        BOOST_TEST_REQUIRE(race.has_value(), "seed " << seed << ", an edge to " << node);
        ++edges;
      }
    }
  }
  BOOST_TEST(edges > 2000U);
}

BOOST_AUTO_TEST_CASE(reads_of_the_same_bytes_and_bytes_side_by_side_wait_for_nothing) {
  const auto node = [](std::int64_t first, std::int64_t last, bool writes) {
    return CudaAccesses{{Memory::arena, 0, first, last, writes}};
  };
  const std::vector<CudaAccesses> nodes = {node(0, 8, true),  node(8, 16, true), node(0, 8, false),
                                           node(0, 8, false), node(4, 6, true),  node(0, 4, false),
                                           node(6, 7, true)};
  const CudaOrder expected = {{}, {}, {0}, {0}, {2, 3}, {0}, {2, 3}};
  BOOST_TEST((cuda_order(nodes) == expected));
  const std::vector<std::int64_t> launches = {1, 5, 2, 1, 1, 1, 1};
  BOOST_TEST(longest_chain(expected, launches) == 5);
  const std::vector<std::int64_t> others = {1, 1, 2, 3, 1, 1, 1};
  BOOST_TEST(longest_chain(expected, others) == 5);
  BOOST_TEST(longest_chain({}, {}) == 0);
}

BOOST_AUTO_TEST_CASE(a_node_that_reads_what_it_writes_does_not_wait_for_itself) {
  const std::vector<CudaAccesses> nodes(
      3, {{Memory::arena, 0, 0, 8, false}, {Memory::arena, 0, 4, 12, true}});
  const CudaOrder expected = {{}, {0}, {1}};
  BOOST_TEST((cuda_order(nodes) == expected));
}

BOOST_AUTO_TEST_CASE(an_access_has_all_bytes_from_the_first_element_to_the_last) {
  Plan plan;
  plan.guards = {{Place::arena, 900, DType::boolean, Layout::dense({})}};
  Layout back = Layout::dense({3, 4});
  back.strides = {-8, 2};
  back.offset = 20;
  const PlanStep step{.node = 0,
                      .guard = 0,
                      .inputs = {{Place::arena, 100, DType::f32, back},
                                 {Place::feed, 0, DType::f32, back},
                                 {Place::arena, 0, DType::f64, Layout::dense({0, 3})}},
                      .outputs = {{Place::stored, 2, DType::f64, Layout::dense({5})}}};
  CudaWork work{.launches = std::vector<CudaLaunch>(1), .scratch = 512};
  work.launches[0].args = {{CudaArg::Kind::state}};
  const auto text_of = [](const CudaAccesses& accesses) {
    std::string text;
    for (const CudaAccess& a : accesses) {
      text += std::to_string(static_cast<int>(a.memory)) + "." + std::to_string(a.index) + " " +
              std::to_string(a.first) + "-" + std::to_string(a.last) + (a.writes ? "w " : " ");
    }
    return text;
  };
  BOOST_TEST(text_of(cuda_accesses(plan, step, work)) ==
             "0.0 116-208 0.0 900-901 1.2 0-40w 2.0 0-512w 3.0 0-48 ");
  work.thing = "index";
  BOOST_TEST(text_of(cuda_accesses(plan, step, work)) ==
             "0.0 116-208 0.0 900-901 1.2 0-40w 2.0 0-512w 3.0 0-48w ");
}

// The harness draws an order among those that the edges allow, anew for each start.
BOOST_AUTO_TEST_CASE(models_have_equal_bits_in_every_order_and_shorter_chains) {
  if (test_support::skips_cuda_programs()) return;
  int shorter = 0;
  const auto device_of = [](std::uint64_t seed) {
    return make_device("cuda", cuda_backend(test_support::cuda_test_runtime(seed)));
  };
  for (const bench::Row& row : bench::ladder_rows()) {
    const auto loss = [&](bool branches, std::uint64_t seed) {
      const bench::Training training = bench::training_of(row.make_tiny(), true);
      Program program =
          compile({training.model.loss}, training.updates, device_of(seed), {.branches = branches});
      const Report& report = program.report();
      if (!branches) BOOST_TEST(report.longest_chain == 0);
      else if (report.longest_chain > 0) {
        BOOST_TEST(report.longest_chain < report.kernels);
        const std::string told = std::to_string(report.kernels) + " kernels (at most " +
                                 std::to_string(report.longest_chain) + " in a row), ";
        BOOST_TEST(program.explain().find(told) != std::string::npos);
        ++shorter;
      }
      return program.run_many(2, {training.model.batch}).number(0);
    };
    const double expected = loss(false, 1);
    BOOST_TEST(loss(true, 2) == expected, row.name);
  }
  BOOST_TEST(shorter > 0);
}

BOOST_AUTO_TEST_SUITE_END()
