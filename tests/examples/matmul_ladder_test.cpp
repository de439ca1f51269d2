// What the ladder of kernels prints without a GPU.

#include <boost/test/unit_test.hpp>
#include <string>

#include "examples/call.h"

BOOST_AUTO_TEST_SUITE(matmul_ladder)

BOOST_AUTO_TEST_CASE(every_rung_runs_on_the_cpu_and_is_right) {
  const example_test::Answer answer =
      example_test::call("matmul_ladder", {"--m", "40", "--n", "36", "--k", "20"});
  BOOST_TEST(answer.exit_code == 0);
  for (const char* part :
       {"1. The rungs", "a thread computes one element", "2. The cut of 4096x4096x4096",
        "grid 128x128x8 > warp 64x32 > thread 8x8", "3. Each rung on the CPU",
        "fma chain, bit for bit", "f64 sum, bound of f32 sums", "Times on a GPU: --device cuda"}) {
    BOOST_TEST((answer.out.find(part) != std::string::npos), part);
  }
}

BOOST_AUTO_TEST_CASE(times_are_those_of_a_gpu_or_the_reason_for_none) {
  const example_test::Answer answer =
      example_test::call("matmul_ladder", {"--device", "cuda", "--runs", "2"});
  const bool has_times = answer.out.find("TFLOP/s") != std::string::npos;
  const bool has_reason = answer.err.find("matmul_ladder: ") == 0;
  BOOST_TEST(has_times == (answer.exit_code == 0), answer.err);
  BOOST_TEST(has_reason == (answer.exit_code == 1), answer.err);
}

BOOST_AUTO_TEST_CASE(wrong_usage_is_told) {
  BOOST_TEST(example_test::call("matmul_ladder", {"--m", "0"}).exit_code == 2);
  BOOST_TEST(example_test::call("matmul_ladder", {"--device", "tpu"}).exit_code == 2);
}

BOOST_AUTO_TEST_SUITE_END()
