// What a thousand steps ask of the CUDA runtime besides starting them: nothing. The steps need a
// GPU.
#include <boost/test/unit_test.hpp>

#include <cuda_runtime_api.h>

#include "blockgrad/blockgrad.h"
#include "cuda/call_counts.h"

using namespace blockgrad;
using test_support::CallCounts;

namespace {

constexpr std::int64_t steps = 1000;

CallCounts since(const CallCounts& before) {
  const CallCounts now = test_support::call_counts();
  return {now.allocations - before.allocations, now.waits - before.waits};
}

bool skips_gpu() {
  try {
    (void)cuda();
  } catch (const DeviceError& error) {
    BOOST_TEST_MESSAGE("skipped: " << error.what());
    return true;
  }
  return false;
}

// A net of two layers and its loss on rows of x.
struct Training {
  Expr x = input("x", {64, 32}), t = input("t", {64, 8});
  Expr w = parameter(full({32, 16}, 0.1), "w"), v = parameter(full({16, 8}, 0.1), "v");
  Optimizer optimizer{Adam{}};
  Program program;

  Training() : program(make()) {}
  Program make() {
    const Loss loss = mse_loss(matmul(relu(matmul(x, w)), v), t);
    return compile({loss}, minimize(optimizer, loss), cuda());
  }
  Feeds feeds() const { return {{x, full({64, 32}, 0.5)}, {t, full({64, 8}, 1.0)}}; }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(call_counts)

BOOST_AUTO_TEST_CASE(calls_are_counted_whatever_becomes_of_them) {
  const CallCounts before = test_support::call_counts();
  void* memory = nullptr;
  (void)cudaMalloc(&memory, 1);
  (void)cudaFree(memory);
  (void)cudaStreamSynchronize(nullptr);
  BOOST_TEST(since(before).allocations == 2);
  BOOST_TEST(since(before).waits == 1);
}

BOOST_AUTO_TEST_CASE(a_thousand_steps_of_one_call_allocate_nothing_and_wait_for_nothing) {
  if (skips_gpu()) return;
  Training training;
  const Feeds feeds = training.feeds();
  const double first = training.program.run_many(steps, {feeds}).number(0);
  const CallCounts before = test_support::call_counts();
  const Results results = training.program.run_many(steps, {feeds});
  BOOST_TEST(since(before).allocations == 0);
  BOOST_TEST(since(before).waits == 0);
  BOOST_TEST(results.number(0) < first);
}

BOOST_AUTO_TEST_CASE(a_thousand_calls_of_one_step_allocate_nothing) {
  if (skips_gpu()) return;
  Training training;
  const Feeds feeds = training.feeds();
  for (int i = 0; i < 10; ++i) training.program.run(feeds);
  const CallCounts before = test_support::call_counts();
  for (std::int64_t i = 0; i < steps; ++i) training.program.run(feeds);
  BOOST_TEST(since(before).allocations == 0);
}

BOOST_AUTO_TEST_SUITE_END()
