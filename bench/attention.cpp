// Attention forward and backward: time and peak memory of the op, that works by blocks, against the
// composition of products and a softmax that it stands for.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "blockgrad/blockgrad.h"

namespace bg = blockgrad;

namespace {

struct Sizes {
  const char* name;
  std::int64_t batch, heads, length, depth;
  bool causal;
};

bg::Tensor random_tensor(const bg::Shape& shape, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(shape.size()));
  for (float& v : values) v = normal(generator);
  return bg::tensor(std::span<const float>(values), shape);
}

struct Step {
  bg::Program program;
  bg::Feeds feeds;
};

// y and the gradients of a weighted sum of it by q, k and v.
Step step(const Sizes& s, bool composed, int threads) {
  const bg::Shape shape{s.batch, s.heads, s.length, s.depth};
  std::vector<bg::Expr> in;
  bg::Feeds feeds;
  for (const char* name : {"q", "k", "v", "weights"}) {
    in.push_back(bg::input(name, shape));
    feeds.push_back({in.back(), random_tensor(shape, static_cast<unsigned>(feeds.size()))});
  }
  const bg::Attention op{s.causal, 1 / std::sqrt(static_cast<double>(s.depth))};
  const std::vector<bg::Expr> of = {in[0], in[1], in[2]};
  const bg::Expr y = composed ? op.expand(of)[0] : bg::make_all(op, of)[0];
  std::vector<bg::Output> outputs{y};
  for (const bg::Expr& g : bg::grad(bg::sum(y * in[3]), {in[0], in[1], in[2]}))
    outputs.emplace_back(g);
  return {bg::compile(outputs, {}, bg::cpu(), {.threads = threads}), feeds};
}

double seconds(Step& step, std::int64_t runs) {
  const auto start = std::chrono::steady_clock::now();
  for (std::int64_t i = 0; i < runs; ++i) step.program.run(step.feeds);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double largest_difference(Step& a, Step& b) {
  const bg::Results x = a.program.run(a.feeds), y = b.program.run(b.feeds);
  double worst = 0;
  for (int i = 0; i < 4; ++i) {
    const bg::Tensor left = x.tensor(i), right = y.tensor(i);
    for (std::int64_t e = 0; e < left.size(); ++e)
      worst = std::max(worst, std::abs(left.at(e) - right.at(e)));
  }
  return worst;
}

// In turns, so that the machine's moods meet both; the ratio of medians.
void compare(const Sizes& s, int threads) {
  Step blocks = step(s, false, threads), whole = step(s, true, threads);
  const double difference = largest_difference(blocks, whole);
  std::int64_t runs = 1;
  while (seconds(blocks, runs) < 0.01) runs *= 2;
  std::vector<double> mine, other;
  for (int i = 0; i < 11; ++i) {
    mine.push_back(seconds(blocks, runs) / static_cast<double>(runs));
    other.push_back(seconds(whole, runs) / static_cast<double>(runs));
  }
  std::sort(mine.begin(), mine.end());
  std::sort(other.begin(), other.end());
  const double flops = blocks.program.report().flops;
  std::printf(
      "%-34s %d  %10.1f us [%.1f, %.1f]  %10.1f us   %5.2fx  %6.1f GFLOP/s  %9.2f MB %10.2f MB   "
      "%.1e\n",
      s.name, threads, mine[5] * 1e6, mine.front() * 1e6, mine.back() * 1e6, other[5] * 1e6,
      other[5] / mine[5], flops / mine[5] * 1e-9,
      static_cast<double>(blocks.program.report().peak_bytes) * 1e-6,
      static_cast<double>(whole.program.report().peak_bytes) * 1e-6, difference);
}

}  // namespace

// bench_attention [threads ...]; default 1 2.
int main(int argc, char** argv) {
  std::printf(
      "%sforward and backward, f32     threads    by blocks                composed          gain"
      "                       peak     composed   largest difference\n",
      bg::device_report().c_str());
  const Sizes all[] = {{"GPT: 12 x 4 heads, 64 of 32, causal", 12, 4, 64, 32, true},
                       {"12 x 4 heads, 64 of 32", 12, 4, 64, 32, false},
                       {"4 x 8 heads, 256 of 64, causal", 4, 8, 256, 64, true},
                       {"1 x 4 heads, 1024 of 64, causal", 1, 4, 1024, 64, true}};
  std::vector<int> threads;
  for (int i = 1; i < argc; ++i) threads.push_back(std::atoi(argv[i]));
  if (threads.empty()) threads = {1, 2};
  for (const int n : threads) {
    for (const Sizes& sizes : all) compare(sizes, n);
  }
  const Sizes large{"1 head, 8192 of 64, causal", 1, 1, 8192, 64, true};
  Step blocks = step(large, false, threads.back());
  std::printf(
      "%-34s %d  %10.1f us, peak %.2f MB; its scores alone are %.2f MB, of which the "
      "composition holds several\n",
      large.name, threads.back(), seconds(blocks, 1) * 1e6,
      static_cast<double>(blocks.program.report().peak_bytes) * 1e-6, 8192.0 * 8192 * 4e-6);
}
