// Time of whole training steps, tiny ones first: forward, backward and update in one program.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <random>
#include <vector>

#include "blockgrad/blockgrad.h"
#include "models/models.h"
#include "support/run_main.h"

namespace bg = blockgrad;

namespace {

struct Step {
  bg::Program program;
  std::vector<bg::Feeds> feeds;
};

struct Timing {
  double median = 0, fastest = 0, slowest = 0;  // seconds per step
};

Timing timed(const std::function<void(std::int64_t)>& run) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [&](std::int64_t steps) {
    const auto start = Clock::now();
    run(steps);
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  std::int64_t steps = 1;
  while (seconds(steps) < 0.02) steps *= 2;
  std::vector<double> times;
  for (int i = 0; i < 15; ++i) times.push_back(seconds(steps) / static_cast<double>(steps));
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times.front(), times.back()};
}

bg::Tensor random_tensor(const bg::Shape& shape, float scale) {
  static std::mt19937 generator(1);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(static_cast<std::size_t>(shape.size()));
  for (float& v : values) v = normal(generator);
  return bg::tensor(std::span<const float>(values), shape);
}

Step regression(std::int64_t rows, bg::Optimizer& optimizer, int batches = 1) {
  const bg::Expr x = bg::input("x", {rows, 2}), t = bg::input("t", {rows, 1});
  const bg::Expr w = bg::parameter(bg::zeros({2, 1}), "w"), b = bg::parameter(bg::zeros({1}), "b");
  const bg::Loss loss = bg::mse_loss(bg::matmul(x, w) + b, t);
  Step step{bg::compile({loss}, bg::minimize(optimizer, loss)), {}};
  for (int i = 0; i < batches; ++i)
    step.feeds.push_back({{x, random_tensor({rows, 2}, 1)}, {t, random_tensor({rows, 1}, 1)}});
  return step;
}

Step perceptron(std::int64_t rows, bg::Optimizer& optimizer, int threads, bool checks = false) {
  const bench::Model model = bench::mlp({.batch = rows});
  return {bg::compile({model.loss}, bg::minimize(optimizer, model.loss), bg::cpu(),
                      {.threads = threads, .check_numerics = checks}),
          {model.batch}};
}

void print(const char* name, const Timing& t) {
  std::printf("%-44s %10.3f us   [%.3f, %.3f]\n", name, t.median * 1e6, t.fastest * 1e6,
              t.slowest * 1e6);
}

// Both in turns, so that the machine's moods meet both.
void compare(const char* name, Step usual, Step other) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [](Step& step) {
    const auto start = Clock::now();
    step.program.run_many(20, step.feeds);
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  double best_usual = seconds(usual), best_other = seconds(other);
  for (int i = 0; i < 200; ++i) {
    best_usual = std::min(best_usual, seconds(usual));
    best_other = std::min(best_other, seconds(other));
  }
  std::printf("%-44s %10.2f %%    [%.3f, %.3f us]\n", name, 100 * (best_other / best_usual - 1),
              best_usual / 20 * 1e6, best_other / 20 * 1e6);
}

void report(const char* name, Step step) {
  print(name, timed([&](std::int64_t n) { step.program.run_many(n, step.feeds); }));
}

int run(int argc, char** argv) {
  bench::numbers_of(argc, argv, "bench_steps");
  std::printf("%s%-44s %10s      fastest, slowest of 15\n", bg::device_report().c_str(),
              "one step, f32", "median");
  bg::Optimizer tiny(bg::Sgd{.learning_rate = 0.01}), large(bg::Sgd{.learning_rate = 0.01});
  report("regression 5x2 inside run_many", regression(5, tiny));
  bg::Optimizer rotating(bg::Sgd{.learning_rate = 0.01});
  report("regression 5x2, 16 batches in turns", regression(5, rotating, 16));
  Step single = regression(5, tiny);
  print("regression 5x2, run(feeds) each", timed([&](std::int64_t n) {
          for (std::int64_t i = 0; i < n; ++i) single.program.run(single.feeds[0]);
        }));
  report("regression 1024x2 inside run_many", regression(1024, large));
  const bg::Sgd recipe{.learning_rate = 0.1};
  bg::Optimizer one(recipe), two(recipe), three(recipe), four(recipe);
  report("MLP 784-128-10, batch 64, 1 thread", perceptron(64, one, 1));
  report("MLP 784-128-10, batch 64, all threads", perceptron(64, two, 0));
  compare("check_numerics adds to it, 1 thread", perceptron(64, three, 1),
          perceptron(64, four, 1, true));
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return bench::run_main(run, argc, argv); }
