// What bench_kernels times on a GPU, in tiny sizes on CUDA's executable: it runs, it computes what
// the CPU does, and it is timed.
#include <boost/test/unit_test.hpp>

#include "backends/cuda/harness/host_runtime.h"
#include "kernels/kernel_times.h"
#include "tests/support/checks.h"
#include "tests/support/on_cuda.h"

using namespace blockgrad;

BOOST_AUTO_TEST_SUITE(kernel_rows)

BOOST_AUTO_TEST_CASE(every_row_gives_what_the_cpu_gives) {
  if (test_support::skips_cuda_programs()) return;
  const auto& device = test_support::cuda_test_device();
  std::vector<bench::KernelRow> rows;
  for (const bench::KernelRow& row : bench::kernel_rows(true)) {
    if (row.math == MathMode::exact) rows.push_back(row);
  }
  harness::compile_together([&] {
    for (const bench::KernelRow& row : rows) {
      bench::Drawn drawn;
      const bench::KernelCall call = row.make(drawn);
      compile(std::vector<Output>(call.results.begin(), call.results.end()), call.updates, device);
    }
  });
  for (const bench::KernelRow& row : rows) {
    BOOST_TEST_CONTEXT(row.name) {
      const auto expected = bench::values_of(row, cpu(), cpu());
      BOOST_TEST(bench::off_by(bench::values_of(row, device, cpu()), expected) <=
                 bench::off_at_most(row));
    }
  }
  test_support::check_machine_code();
}

BOOST_AUTO_TEST_CASE(full_rows_are_the_same_and_move_at_least_64_megabytes) {
  const std::vector<bench::KernelRow> full = bench::kernel_rows(false);
  const std::vector<bench::KernelRow> tiny = bench::kernel_rows(true);
  BOOST_TEST_REQUIRE(full.size() == tiny.size());
  for (std::size_t i = 0; i < full.size(); ++i) {
    BOOST_TEST(full[i].name == tiny[i].name);
    BOOST_TEST(full[i].bytes > tiny[i].bytes);
    BOOST_TEST((full[i].flops > 0 || full[i].bytes >= 64e6));
  }
}

BOOST_AUTO_TEST_CASE(a_row_is_timed_with_calls_on_buffers_of_their_own) {
  if (test_support::skips_cuda_programs()) return;
  const bench::KernelRow row = bench::copy_row(true);
  const bench::KernelTimes times =
      bench::times_of(row, test_support::cuda_test_device(),
                      {.repetitions = 3, .milliseconds = 0, .rotated_bytes = 2.5 * row.bytes});
  BOOST_TEST(times.calls == 3);
  BOOST_TEST(times.steps == 1);
  BOOST_TEST(times.seconds.low > 0);
  BOOST_TEST(times.seconds.low <= times.seconds.median);
  BOOST_TEST(test_support::contains(times.kernels, "copy_all"));
}

BOOST_AUTO_TEST_CASE(a_difference_is_a_share_of_the_largest_number) {
  const auto of = [](float a, float b) { return std::vector<Tensor>{tensor({a, b}, {2})}; };
  BOOST_TEST(bench::off_by(of(4, 1), of(4, 2)) == 0.25);
  BOOST_TEST(bench::off_by(of(0.5F, 0), of(0.25F, 0)) == 0.25);
  BOOST_TEST(std::isinf(bench::off_by(of(1, NAN), of(1, NAN))));
  BOOST_TEST(std::isinf(bench::off_by({}, of(1, 1))));
}

BOOST_AUTO_TEST_SUITE_END()
