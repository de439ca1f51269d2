// A chain of a million nodes is built, differentiated, compiled, run and destroyed: no recursion
// over the graph.
#include <malloc.h>
#include <pthread.h>
#include <time.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <optional>
#include <string>

#include "blockgrad/blockgrad.h"
#include "support/sanitizers.h"

using namespace blockgrad;

namespace {

#if defined(BG_SANITIZED)
constexpr int links = 50000;
constexpr std::size_t stack_bytes = 1024 * 1024;  // sanitizers widen every frame
#elif !defined(__x86_64__)
constexpr int links = 100000;  // such tests run in an emulator
constexpr std::size_t stack_bytes = 256 * 1024;
#else
constexpr int links = 1000000;
constexpr std::size_t stack_bytes = 256 * 1024;
#endif

// Destroyed at exit, after this thread's own variables.
Expr global_chain;

// The process's largest resident size since `start`, in MiB; 0 where the system does not tell.
long peak_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmHWM:", 0) == 0) return std::stol(line.substr(6)) / 1024;
  }
  return 0;
}

class Stages {
 public:
  Stages() {
    malloc_trim(0);                                 // what earlier cases left behind does not count
    std::ofstream("/proc/self/clear_refs") << "5";  // the peak starts anew
    start();
  }
  void done(const char* stage) {
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - wall_;
    std::printf("  %-8s %7.3f s (%7.3f s of processor), peak RSS %ld MiB\n", stage, seconds.count(),
                processor() - processor_, peak_mib());
    std::fflush(stdout);
    start();
  }

 private:
  static double processor() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
  }
  void start() {
    wall_ = std::chrono::steady_clock::now();
    processor_ = processor();
  }

  std::chrono::steady_clock::time_point wall_;
  double processor_ = 0;
};

struct Outcome {
  double y = 0, slope = 0, expected_y = 0, expected_slope = 0;
};

// y_i = sin(y_{i-1}) + 0.5: every link's gradient needs the link's input.
Outcome run_chain() {
  Stages stages;
  std::printf("chain of %d nodes\n", links);
  Outcome outcome;
  std::optional<Expr> x = input("x", {}, DType::f64), y = *x;
  static const auto link = elementwise([](auto v) { return sin(v) + 0.5; });
  for (int i = 0; i < links; ++i) y = link(*y);
  stages.done("build");
  std::optional<Expr> slope = grad(*y, {*x})[0];
  stages.done("grad");
  std::optional<Program> program = compile({*y, *slope});
  stages.done("compile");
  {
    const Results results = program->run({{*x, full({}, 0.25, DType::f64)}});
    outcome.y = results.number(0);
    outcome.slope = results.number(1);
  }
  stages.done("run");
  slope.reset();
  y.reset();
  x.reset();
  program.reset();
  stages.done("destroy");
  outcome.expected_y = 0.25;
  outcome.expected_slope = 1;
  for (int i = 0; i < links; ++i) {
    outcome.expected_slope *= std::cos(outcome.expected_y);
    outcome.expected_y = std::sin(outcome.expected_y) + 0.5;
  }
  return outcome;
}

// Runs f in a thread with a small stack; what it throws is reported.
template <class F>
void on_small_stack(F f) {
  struct Task {
    F* f;
    std::string error;
  } task{&f, {}};
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  BOOST_TEST_REQUIRE(pthread_attr_setstacksize(&attributes, stack_bytes) == 0);
  pthread_t thread{};
  const auto body = [](void* given) -> void* {
    auto& own = *static_cast<Task*>(given);
    try {
      (*own.f)();
    } catch (const std::exception& error) {
      own.error = error.what();
    }
    return nullptr;
  };
  BOOST_TEST_REQUIRE(pthread_create(&thread, &attributes, body, &task) == 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  BOOST_TEST(task.error.empty(), task.error);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(chain)

// A stack of 256 KB is enough.
BOOST_AUTO_TEST_CASE(a_million_links_give_value_and_slope_on_a_small_stack) {
  Outcome outcome;
  on_small_stack([&] { outcome = run_chain(); });
  BOOST_TEST(outcome.y == outcome.expected_y, boost::test_tools::tolerance(1e-12));
  BOOST_TEST(std::abs(outcome.slope - outcome.expected_slope) <= 1e-12);
}

BOOST_AUTO_TEST_CASE(a_chain_without_any_pass_is_compiled_too) {
  const Expr x = input("x", {}, DType::f64);
  Expr y = x;
  for (int i = 0; i < links / 10; ++i) y = y * 1.00001 + 1e-6;
  CompileOptions options;
  options.skip = {"simplify", "merge_equal", "fuse_rows", "fuse_maps"};
  Program program = compile({y, grad(y, {x})[0]}, {}, cpu(), options);
  BOOST_TEST(program.run({{x, ones({}, DType::f64)}}).number(1) == std::pow(1.00001, links / 10),
             boost::test_tools::tolerance(1e-9));
}

BOOST_AUTO_TEST_CASE(a_fan_of_many_readers_is_differentiated) {
  const Expr x = input("x", {}, DType::f64);
  std::vector<Expr> parts;
  for (int i = 0; i < links / 10; ++i) parts.push_back(x * double(i % 10));
  const Expr y = sum_of(parts);
  Program program = compile({y, grad(y, {x})[0]});
  const Results results = program.run({{x, full({}, 2, DType::f64)}});
  BOOST_TEST(results.number(0) == 2 * 4.5 * (links / 10));
  BOOST_TEST(results.number(1) == 4.5 * (links / 10));
}

BOOST_AUTO_TEST_CASE(chains_of_views_and_of_composite_ops_are_walked_too) {
  const Expr x = input("x", {2, 3}, DType::f64);
  Expr y = x;
  for (int i = 0; i < 10000; ++i) y = transpose(y);
  for (int i = 0; i < 300; ++i) y = log_softmax(y);
  const Tensor t = evaluate(y, {{x, zeros({2, 3}, DType::f64)}});
  BOOST_TEST(t.at(5) == -std::log(3.0), boost::test_tools::tolerance(1e-9));
}

BOOST_AUTO_TEST_CASE(a_chain_may_outlive_main) {
  Expr y = parameter(zeros({}, DType::f64), "global");
  for (int i = 0; i < links / 4; ++i) y = y + 1.0;
  global_chain = y;
  BOOST_TEST(static_cast<bool>(global_chain));
}

BOOST_AUTO_TEST_SUITE_END()
