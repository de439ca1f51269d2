// A running step takes no memory from the system: no page is touched for the first time.
#include <sys/resource.h>

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <utility>

#include "support/models.h"
#include "support/sanitizers.h"
#include "tests/limits/heap.h"

using namespace blockgrad;

namespace {

struct Step {
  models::Task task;
  Optimizer optimizer;
  Program program;

  template <class Recipe>
  Step(models::Task t, const Recipe& recipe)
      : task(std::move(t)),
        optimizer(recipe),
        program(compile({task.loss}, minimize(optimizer, task.loss), cpu(), {.threads = 2})) {}
};

std::int64_t page_faults() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt + usage.ru_majflt;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(faults)

BOOST_AUTO_TEST_CASE(ten_thousand_steps_fault_and_allocate_nothing) {
  // Large enough for an arena with pages of its own.
  Step wide(models::mlp(4, 8192, {70, 10}), Sgd{.learning_rate = 1e-3});
  BOOST_TEST(wide.program.report().arena_bytes > (2 << 20));
  Step small(models::mlp(5, 2, {3, 2}), Adam{});
  for (Step* step : {&small, &wide}) {
    const Feeds ring[] = {step->task.feeds};
    const std::int64_t steps = step == &small ? 10000 : 500;
    step->program.run_many(10, ring);
    std::int64_t least = 1 << 30, allocations = 0;
    // The system may move pages on its own account; what the step does shows in every try.
    for (int i = 0; i < 3 && least > 0; ++i) {
      const std::int64_t faults_before = page_faults(), before = heap::allocations();
      step->program.run_many(steps, ring);
      allocations += heap::allocations() - before;
      least = std::min(least, page_faults() - faults_before);
    }
    std::printf("page faults in %lld steps: %lld\n", static_cast<long long>(steps),
                static_cast<long long>(least));
    BOOST_TEST(allocations == 0);
#if !defined(BG_SANITIZED)
    BOOST_TEST(least == 0);
#endif
  }
}

BOOST_AUTO_TEST_CASE(large_memory_starts_at_a_huge_page_and_is_writable_to_its_end) {
  for (const std::int64_t bytes : {std::int64_t{1} << 21, (std::int64_t{5} << 20) + 13}) {
    const auto memory = allocate_bytes(bytes);
    BOOST_TEST(reinterpret_cast<std::uintptr_t>(memory.get()) % (1u << 21) == 0);
    std::memset(memory.get(), 1, static_cast<std::size_t>(bytes));
    BOOST_TEST((memory.get()[bytes - 1] == std::byte{1}));
  }
  BOOST_TEST(reinterpret_cast<std::uintptr_t>(allocate_bytes(100).get()) % 64 == 0);
}

BOOST_AUTO_TEST_SUITE_END()
