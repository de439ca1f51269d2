// Whole training steps on CUDA's executable, of the ladder's models in their tiny sizes: losses as
// on the CPU.
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "backends/cuda/harness/host_runtime.h"
#include "blockgrad/backends/program.h"
#include "models/rows.h"
#include "tests/support/on_cuda.h"

namespace {

/// The losses before each of `steps` steps.
std::vector<double> losses_on(const blockgrad::Device& device, const bench::Row& row, int steps) {
  const bench::Training training = bench::training_of(row.make_tiny(), true);
  blockgrad::Program program = blockgrad::compile({training.model.loss}, training.updates, device);
  std::vector<double> losses;
  for (int i = 0; i < steps; ++i) losses.push_back(program.run(training.model.batch).number(0));
  return losses;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(models)

BOOST_AUTO_TEST_CASE(training_has_the_losses_of_the_cpu) {
  if (test_support::skips_cuda_programs()) return;
  constexpr int steps = 3;
  for (const bench::Row& row : bench::ladder_rows()) {
    BOOST_TEST_CONTEXT(row.name) {
      const std::vector<double> expected = losses_on(blockgrad::cpu(), row, steps);
      const std::vector<double> got = losses_on(test_support::cuda_test_device(), row, steps);
      for (int i = 0; i < steps; ++i) {
        const auto at = static_cast<std::size_t>(i);
        BOOST_TEST(std::abs(got[at] - expected[at]) <= 1e-4 * std::abs(expected[at]),
                   "step " << i << ": " << got[at] << ", the CPU " << expected[at]);
      }
    }
  }
  test_support::check_machine_code();
}

BOOST_AUTO_TEST_SUITE_END()
