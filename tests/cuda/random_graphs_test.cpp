// Random graphs on CUDA's executable against plain loops: values and gradients.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <string>

#include "backends/cuda/harness/host_runtime.h"
#include "tests/support/on_cuda.h"
#include "tests/support/random_graph.h"

namespace {

std::uint64_t number(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::stoull(text);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(random_graphs)

// BLOCKGRAD_GRAPHS and BLOCKGRAD_SEED say how many and from which seed on.
BOOST_AUTO_TEST_CASE(values_and_gradients_are_those_of_plain_loops) {
  if (test_support::skips_cuda_programs()) return;
  const std::uint64_t count = number("BLOCKGRAD_GRAPHS", 24), seed = number("BLOCKGRAD_SEED", 1);
  constexpr std::uint64_t together = 24;
  const blockgrad::Device& device = test_support::cuda_test_device();
  for (std::uint64_t first = 0; first < count; first += together) {
    std::vector<random_graph::Recipe> recipes;
    for (std::uint64_t i = first; i < std::min(count, first + together); ++i)
      recipes.push_back(random_graph::generate(seed + i));
    blockgrad::harness::compile_together([&] {
      for (const auto& recipe : recipes) {
        try {
          random_graph::compile_on(recipe, device);
        } catch (const blockgrad::Error&) {  // problem_on tells it
        }
      }
    });
    for (std::size_t i = 0; i < recipes.size(); ++i) {
      const std::string problem = random_graph::problem_on(recipes[i], device);
      if (problem.empty()) continue;
      const random_graph::Recipe small =
          random_graph::reduced(recipes[i], [&](const random_graph::Recipe& r) {
            return !random_graph::problem_on(r, device).empty();
          });
      BOOST_ERROR("seed " << seed + first + i << ": " << random_graph::problem_on(small, device)
                          << "\n"
                          << random_graph::to_string(small));
    }
    test_support::check_machine_code();
  }
}

BOOST_AUTO_TEST_SUITE_END()
