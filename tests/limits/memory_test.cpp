// A running program takes nothing from the heap, and its report knows its memory beforehand.
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstdio>

#include "blockgrad/blockgrad.h"
#include "support/sanitizers.h"
#include "tests/limits/heap.h"

using namespace blockgrad;

namespace {

constexpr int steps = 10000;

// The five rows of the smallest regression.
struct Regression {
  Expr x = input("x", {5, 2}), t = input("t", {5, 1});
  Expr w = parameter(zeros({2, 1}), "w"), b = parameter(zeros({1}), "b");
  Loss loss = mse_loss(matmul(x, w) + b, t);
  Optimizer optimizer{Sgd{.learning_rate = 0.01, .momentum = 0.9}};
  Program step = compile({loss}, minimize(optimizer, loss));
  Feeds feeds = {{x, tensor<float>({2, 5, 1, 3, 4, 2, 3, 4, 5, 1}, {5, 2})},
                 {t, tensor<float>({10, 5.75, 8, 9.75, 7.75}, {5, 1})}};
};

// Products, reductions, softmax, indices: wide enough for several threads.
struct Network {
  Expr rows = input("rows", {256}, DType::i32);
  Expr images = constant(full({1000, 64}, 0.5));
  Expr labels = constant(zeros({1000}, DType::i32));
  Expr w = parameter(full({64, 128}, 0.01), "w"), v = parameter(full({128, 10}, 0.02), "v");
  Loss loss = cross_entropy(matmul(relu(matmul(take(images, rows), w)), v), take(labels, rows));
  Optimizer optimizer{Sgd{.learning_rate = 0.01}};
  Program step = compile({loss}, minimize(optimizer, loss), cpu(), {.threads = 2});
  Feeds feeds = {{rows, arange(0, 256, 1, DType::i32)}};
};

template <class Run>
std::int64_t allocations_of(Run run) {
  run();  // the first run may size what later ones use
  const std::int64_t before = heap::allocations();
  run();
  return heap::allocations() - before;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(memory)

BOOST_AUTO_TEST_CASE(the_counter_counts) {
  const std::int64_t before = heap::allocations();
  const auto made = std::make_unique<int>(3);
  BOOST_TEST(heap::allocations() > before);
  BOOST_TEST(*made == 3);
}

BOOST_AUTO_TEST_CASE(ten_thousand_runs_of_one_step_allocate_nothing) {
  Regression r;
  const std::int64_t count = allocations_of([&] {
    for (int i = 0; i < steps; ++i) r.step.run(r.feeds);
  });
  std::printf("heap allocations in %d calls of run: %lld\n", steps, static_cast<long long>(count));
  BOOST_TEST(count == 0);
}

BOOST_AUTO_TEST_CASE(ten_thousand_steps_of_run_many_allocate_nothing) {
  Regression r;
  const Feeds ring[] = {r.feeds, r.feeds, r.feeds};
  const std::int64_t count = allocations_of([&] { r.step.run_many(steps, ring); });
  std::printf("heap allocations in run_many(%d): %lld\n", steps, static_cast<long long>(count));
  BOOST_TEST(count == 0);
}

BOOST_AUTO_TEST_CASE(reading_a_number_allocates_nothing) {
  Regression r;
  const Results results = r.step.run(r.feeds);
  BOOST_TEST(allocations_of([&] { BOOST_TEST_REQUIRE(results.number(0) > 0); }) <=
             4);  // the macro's own
  double total = 0;
  BOOST_TEST(allocations_of([&] { total += results.number(0); }) == 0);
}

BOOST_AUTO_TEST_CASE(steps_on_several_threads_with_gathered_rows_allocate_nothing) {
  Network n;
  const Feeds ring[] = {n.feeds};
  const std::int64_t count = allocations_of([&] { n.step.run_many(20, ring); });
  BOOST_TEST(count == 0);
}

BOOST_AUTO_TEST_CASE(a_step_of_the_five_row_regression_takes_few_microseconds) {
  Regression r;
  const Feeds ring[] = {r.feeds};
  double best = 1e9;
  // Short stretches, so that the best of them is not cut by another process.
  for (int i = 0; i < 300; ++i) {
    const auto start = std::chrono::steady_clock::now();
    r.step.run_many(500, ring);
    const std::chrono::duration<double, std::micro> spent =
        std::chrono::steady_clock::now() - start;
    best = std::min(best, spent.count() / 500);
  }
  std::printf("5x2 regression in run_many: %.3f microseconds a step\n", best);
#if defined(__OPTIMIZE__) && !defined(BG_SANITIZED) && defined(__x86_64__)
  BOOST_TEST(best < 5.0);
#else
  std::printf("no limit on the time in this build\n");
#endif
}

BOOST_AUTO_TEST_CASE(the_report_knows_memory_and_work_before_the_first_run) {
  Network n;
  const Report& report = n.step.report();
  BOOST_TEST(report.storage_bytes == 4 * (64 * 128 + 128 * 10) + 8);
  BOOST_TEST(report.arena_bytes > 0);
  BOOST_TEST(report.peak_bytes >= report.arena_bytes + report.storage_bytes);
  BOOST_TEST(report.flops >= 2.0 * 3 * 256 * 64 * 128 / 2);
  BOOST_TEST(report.kernels == static_cast<std::int64_t>(report.nodes.size()));
  for (const NodeReport& node : report.nodes) {
    BOOST_TEST(node.node.find("memory_test.cpp:") != std::string::npos, node.node);
    BOOST_TEST(!node.kernel.empty());
  }
  Program apart = compile({n.loss}, minimize(n.optimizer, n.loss), cpu(), {.reuse_memory = false});
  BOOST_TEST(apart.report().arena_bytes > report.arena_bytes);
  BOOST_TEST(report.reused_bytes > 0);
}

BOOST_AUTO_TEST_SUITE_END()
