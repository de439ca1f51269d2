// Row programs: softmax, norms, losses and their gradients, each as one kernel and with fuse_rows
// left out, in turns in one run. `bench_rows [THREADS]`; bandwidths are of what must move at least,
// inputs and outputs once, beside the triad of the same run.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "blockgrad/blockgrad.h"
#include "support/roof.h"
#include "support/run_main.h"
#include "support/timing.h"

namespace bg = blockgrad;

namespace {

using Clock = std::chrono::steady_clock;

struct Case {
  const char* name;
  std::vector<bg::Output> outputs;
  bg::Feeds feeds;
};

bg::Tensor random_tensor(const bg::Shape& shape, std::uint64_t seed) {
  return bg::normal_tensor(shape, 0, 1, {.seed = seed});
}

Case softmax(const char* name, std::int64_t rows, std::int64_t n) {
  const bg::Expr x = bg::input("x", {rows, n});
  return {name, {bg::softmax(x)}, {{x, random_tensor({rows, n}, 1)}}};
}

Case softmax_gradient(const char* name, std::int64_t rows, std::int64_t n) {
  const bg::Expr y = bg::input("y", {rows, n}), dy = bg::input("dy", {rows, n});
  return {name,
          {y * (dy - bg::sum(dy * y, -1, true))},
          {{y, random_tensor({rows, n}, 1)}, {dy, random_tensor({rows, n}, 2)}}};
}

Case norm(const char* name, std::int64_t rows, std::int64_t n, bool with_gradient) {
  const bg::Expr x = bg::input("x", {rows, n}), dy = bg::input("dy", {rows, n});
  const bg::Expr gain = bg::input("gain", {n}), shift = bg::input("shift", {n});
  const bg::Expr y = bg::layer_norm(x, gain, shift);
  Case made{name,
            {y},
            {{x, random_tensor({rows, n}, 1)},
             {gain, random_tensor({n}, 3)},
             {shift, random_tensor({n}, 4)}}};
  if (!with_gradient) return made;
  for (const bg::Expr& g : bg::grad(bg::sum(y * dy), {x, gain, shift}))
    made.outputs.emplace_back(g);
  made.feeds.push_back({dy, random_tensor({rows, n}, 2)});
  return made;
}

Case batch_norm(const char* name, std::int64_t n, std::int64_t channels, std::int64_t side) {
  const bg::Shape shape{n, channels, side, side};
  const bg::Expr x = bg::input("x", shape), dy = bg::input("dy", shape);
  const bg::Expr gain = bg::input("gain", {channels}), shift = bg::input("shift", {channels});
  const bg::Expr y = bg::relu(bg::batch_norm_training(x, gain, shift).y);
  Case made{name,
            {y},
            {{x, random_tensor(shape, 1)},
             {dy, random_tensor(shape, 2)},
             {gain, random_tensor({channels}, 3)},
             {shift, random_tensor({channels}, 4)}}};
  for (const bg::Expr& g : bg::grad(bg::sum(y * dy), {x, gain, shift}))
    made.outputs.emplace_back(g);
  return made;
}

Case cross_entropy(const char* name, std::int64_t rows, std::int64_t n) {
  const bg::Expr x = bg::input("x", {rows, n}), t = bg::input("t", {rows}, bg::DType::i32);
  std::vector<std::int32_t> labels;
  for (std::int64_t i = 0; i < rows; ++i) labels.push_back(static_cast<std::int32_t>(i * 37 % n));
  const bg::Expr loss = bg::mean(bg::cross_entropy(x, t));
  return {name,
          {loss, bg::grad(loss, {x})[0]},
          {{x, random_tensor({rows, n}, 1)},
           {t, bg::tensor(std::span<const std::int32_t>(labels), {rows})}}};
}

double bytes_moved(const Case& c) {
  double bytes = 0;
  for (const bg::Feed& feed : c.feeds)
    bytes += static_cast<double>(bg::bytes_of(feed.value.type()));
  for (const bg::Output& out : c.outputs)
    bytes += static_cast<double>(bg::bytes_of(out.expr().type()));
  return bytes;
}

double seconds(bg::Program& program, const bg::Feeds& feeds, std::int64_t runs) {
  const auto start = Clock::now();
  program.run_many(runs, std::vector<bg::Feeds>{feeds});
  return std::chrono::duration<double>(Clock::now() - start).count() / static_cast<double>(runs);
}

void compare(const Case& c, int threads, double triad) {
  bg::Program fused = bg::compile(c.outputs, {}, bg::cpu(), {.threads = threads});
  bg::Program plain =
      bg::compile(c.outputs, {}, bg::cpu(), {.skip = {"fuse_rows"}, .threads = threads});
  std::int64_t runs = 1;
  while (seconds(plain, c.feeds, runs) * static_cast<double>(runs) < 0.01) runs *= 2;
  std::vector<double> fast, slow, ratio;
  for (int i = 0; i < 11; ++i) {
    const double first = seconds(fused, c.feeds, runs), second = seconds(plain, c.feeds, runs);
    const double third = seconds(plain, c.feeds, runs), fourth = seconds(fused, c.feeds, runs);
    fast.push_back((first + fourth) / 2);
    slow.push_back((second + third) / 2);
    ratio.push_back(slow.back() / fast.back());
  }
  const bench::Spread gain = bench::spread_of(ratio);
  const double usual = bench::spread_of(fast).median;
  const double rate = bytes_moved(c) / usual;
  std::printf("%-34s %2lld -> %2lld %10.2f %10.2f  %5.2f [%.2f, %.2f] %8.1f GB/s %5.0f %%\n",
              c.name, static_cast<long long>(plain.report().kernels),
              static_cast<long long>(fused.report().kernels), bench::spread_of(slow).median * 1e6,
              usual * 1e6, gain.median, gain.low, gain.high, rate * 1e-9, 100 * rate / triad);
}

int run(int argc, char** argv) {
  const int threads = bench::numbers_of(argc, argv, "bench_rows [THREADS]", {1})[0];
  const double triad = bench::triad_bytes(threads, 3.0 * (64 << 20));
  std::printf("%striad %.1f GB/s, %d thread(s)\n%-34s %8s %10s %10s  %s\n",
              bg::device_report().c_str(), triad * 1e-9, threads, "f32", "kernels", "plain us",
              "fused us", "ratio [quartiles], bandwidth, of the triad");
  compare(softmax("softmax [4096, 1024]", 4096, 1024), threads, triad);
  compare(softmax("softmax [768, 65]", 768, 65), threads, triad);
  compare(softmax("softmax [3072, 64]", 3072, 64), threads, triad);
  compare(softmax_gradient("softmax gradient [4096, 1024]", 4096, 1024), threads, triad);
  compare(norm("layer_norm [768, 128]", 768, 128, false), threads, triad);
  compare(norm("layer_norm and gradient [768, 128]", 768, 128, true), threads, triad);
  compare(norm("layer_norm and gradient [4096, 1024]", 4096, 1024, true), threads, triad);
  compare(cross_entropy("cross_entropy and gradient [768, 65]", 768, 65), threads, triad);
  compare(cross_entropy("cross_entropy and grad. [64, 10]", 64, 10), threads, triad);
  compare(batch_norm("batch_norm, relu, grad. [64,16,32,32]", 64, 16, 32), threads, triad);
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return bench::run_main(run, argc, argv); }
