// How the engine grows with the graph: a chain of elementwise nodes, built, differentiated,
// compiled, run and destroyed, with seconds and the peak of memory of each stage. `bench_chain
// [NODES]`, 1,000,000 by default.
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <optional>

#include "blockgrad/blockgrad.h"
#include "support/run_main.h"

namespace bg = blockgrad;

namespace {

class Stages {
 public:
  void end(const char* name) {
    const auto now = Clock::now();
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    std::printf("%-14s %8.2f s   peak %6ld MiB\n", name,
                std::chrono::duration<double>(now - start_).count(), usage.ru_maxrss / 1024);
    start_ = Clock::now();
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

int run(int argc, char** argv) {
  const int nodes = bench::numbers_of(argc, argv, "bench_chain [NODES]", {1000000})[0];
  Stages stages;
  std::printf("a chain of %d nodes\n", nodes);
  bg::Expr x = bg::input("x", {4}, bg::DType::f64), y = x;
  for (int i = 0; i < nodes; ++i) y = i % 2 == 0 ? y * 1.5 : tanh(y);
  stages.end("build");
  std::optional<bg::Expr> slope = bg::grad(bg::sum(y), {x})[0];
  stages.end("grad");
  std::optional<bg::Program> program = bg::compile({y, *slope});
  stages.end("compile");
  program->run({{x, bg::tensor({0.1, 0.2, 0.3, 0.4}, {4})}});
  stages.end("run");
  program.reset();
  slope.reset();
  y = x;
  stages.end("destroy");
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return bench::run_main(run, argc, argv); }
