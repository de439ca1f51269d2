// How compile() grows with a model: each of four kinds at three sizes, with the time of every pass
// per node, and the power of the number of nodes by which it grew from the size before. What is
// linear has power 1; where a graph outgrows a level of the cache there is more for a while.
// `bench_compile [REPEATS] [TIMES AS LARGE]`.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "models/models.h"
#include "support/run_main.h"

namespace bg = blockgrad;

namespace {

using Clock = std::chrono::steady_clock;

/// A pass, or "all" of compile(), in milliseconds.
using Phase = std::pair<std::string, double>;

struct Compiled {
  std::int64_t nodes = 0;
  std::vector<Phase> phases;
};

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// "fuse_maps: 720 nodes, 0.96 ms".
Compiled compiled(const bench::Training& training) {
  const auto start = Clock::now();
  const bg::Program program = bg::compile({training.model.loss}, training.updates);
  const double all = milliseconds_since(start) - program.report().touch_seconds * 1e3;
  Compiled result;
  for (const std::string& line : program.report().passes) {
    const std::size_t colon = line.find(": "), comma = line.find(", ");
    const std::int64_t nodes = std::stoll(line.substr(colon + 2));
    result.nodes = std::max(result.nodes, nodes);
    result.phases.emplace_back(line.substr(0, colon), std::stod(line.substr(comma + 2)));
  }
  result.phases.back().second -= program.report().touch_seconds * 1e3;  // of the kernels
  result.phases.emplace_back("all", all);
  return result;
}

Compiled fastest(const bench::Training& training, int repeats) {
  Compiled best = compiled(training);
  for (int i = 1; i < repeats; ++i) {
    const Compiled again = compiled(training);
    for (std::size_t p = 0; p < best.phases.size(); ++p)
      best.phases[p].second = std::min(best.phases[p].second, again.phases[p].second);
  }
  return best;
}

bench::Model gpt(std::int64_t layers) {
  return bench::gpt({.batch = 2, .context = 16, .layers = layers, .width = 32, .heads = 2});
}
bench::Model resnet(std::int64_t convolutions) {
  bench::ResnetSizes sizes{.batch = 2, .image = 16, .channels = {}};
  const auto blocks = static_cast<std::size_t>((convolutions - 2) / 2);
  for (const std::int64_t channels : {8, 16, 32})
    sizes.channels.insert(sizes.channels.end(), std::max<std::size_t>(blocks / 3, 1), channels);
  return bench::resnet(sizes);
}
bench::Model lstm(std::int64_t steps) {
  return bench::lstm({.batch = 2, .steps = steps, .width = 16});
}
bench::Model mlp(std::int64_t layers) {
  std::vector<std::int64_t> widths(static_cast<std::size_t>(layers), 16);
  widths.push_back(10);
  return bench::mlp({.batch = 4, .widths = widths, .recipe = bench::Recipe::adam});
}

void measure(const char* kind, const std::function<bench::Model(std::int64_t)>& make,
             const std::vector<std::int64_t>& sizes, int repeats) {
  std::vector<Compiled> all;
  for (const std::int64_t size : sizes)
    all.push_back(fastest(bench::training_of(make(size), true), repeats));
  std::printf("\n%s", kind);
  for (const std::int64_t size : sizes) std::printf(" %lld", static_cast<long long>(size));
  std::printf("\n%-18s", "nodes");
  for (const Compiled& c : all) std::printf("%10lld nodes       ", static_cast<long long>(c.nodes));
  std::printf("\n");
  for (std::size_t p = 0; p < all[0].phases.size(); ++p) {
    std::printf("%-18s", all[0].phases[p].first.c_str());
    for (std::size_t s = 0; s < all.size(); ++s) {
      const double ms = all[s].phases[p].second, nodes = static_cast<double>(all[s].nodes);
      std::printf("%8.2f ms %5.2f us", ms, ms * 1e3 / nodes);
      if (s == 0) {
        std::printf("      ");
        continue;
      }
      const double before = std::max(all[s - 1].phases[p].second, 0.01);
      const double power = std::log(std::max(ms, 0.01) / before) /
                           std::log(nodes / static_cast<double>(all[s - 1].nodes));
      std::printf(" ^%4.2f", power);
    }
    std::printf("\n");
  }
}

int run(int argc, char** argv) {
  const std::vector<int> numbers =
      bench::numbers_of(argc, argv, "bench_compile [REPEATS] [TIMES AS LARGE]", {3, 1});
  const int repeats = numbers[0];
  const std::int64_t large = numbers[1];
  measure("gpt, layers", gpt, {3 * large, 12 * large, 48 * large}, repeats);
  measure("resnet, convolutions", resnet, {14 * large, 50 * large, 194 * large}, repeats);
  measure("lstm, steps", lstm, {32 * large, 128 * large, 512 * large}, repeats);
  measure("mlp, layers", mlp, {32 * large, 128 * large, 512 * large}, repeats);
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return bench::run_main(run, argc, argv); }
