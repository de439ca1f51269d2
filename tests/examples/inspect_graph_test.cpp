// What the look inside a transformer block prints.

#include <boost/test/unit_test.hpp>

#include "examples/call.h"

BOOST_AUTO_TEST_SUITE(inspect_graph)

BOOST_AUTO_TEST_CASE(a_transformer_block_is_explained_part_by_part) {
  const example_test::Answer answer = example_test::call("inspect_graph", {"--runs", "2"});
  BOOST_TEST(answer.exit_code == 0);
  for (const char* part : {"1. What the gradient meets", "every wanted value gets a gradient",
                           "2. What compile made of it", "Memory: ", "The arena holds most, ",
                           "Copies: ", "Fused: ", "Kernels in order of running", "attention",
                           "m,n,k 128x192x64 | cache", "3. Where the time goes",
                           "Kernels, the longest first: medians of 2 runs"}) {
    BOOST_TEST((answer.out.find(part) != std::string::npos), part);
  }
}

BOOST_AUTO_TEST_CASE(wrong_usage_is_told) {
  const example_test::Answer runs = example_test::call("inspect_graph", {"--runs", "0"});
  BOOST_TEST(runs.exit_code == 2);
  BOOST_TEST(runs.err.starts_with("inspect_graph: --runs: expected a whole number"), runs.err);
  const example_test::Answer svg = example_test::call("inspect_graph", {"--svg", "/no/such.svg"});
  BOOST_TEST(svg.exit_code == 2);
  BOOST_TEST(svg.out.empty());
}

BOOST_AUTO_TEST_SUITE_END()
