// Convolutions of LeNet and of a small ResNet, forward and to both operands, beside the processor's
// own rate of multiply-adds, which is measured next to each repetition. On random data; the table
// shows medians. Whole training steps of the two models are rows of bench_ladder.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "blockgrad/blockgrad.h"
#include "support/roof.h"
#include "support/run_main.h"
#include "support/timing.h"

namespace bg = blockgrad;

namespace {

struct Options {
  std::vector<int> threads{1, 2};
  std::string isa;
  std::string only;
  int repetitions = 11;
  double milliseconds = 20;
};

struct Layer {
  const char* name;
  bg::Shape x, w;
  std::int64_t stride, padding;
};

struct Timing {
  double seconds, peak;  // per call; floating-point operations per second of one core
};

Timing timed(const Options& options, bg::Program& program, const std::vector<bg::Feeds>& feeds) {
  const auto seconds = [&](std::int64_t calls) {
    const auto begin = std::chrono::steady_clock::now();
    program.run_many(calls, feeds);
    const std::chrono::duration<double> total = std::chrono::steady_clock::now() - begin;
    return total.count() / static_cast<double>(calls);
  };
  seconds(2);
  const auto calls =
      static_cast<std::int64_t>(std::max(1.0, options.milliseconds / 1000 / seconds(2)));
  std::vector<double> times, peaks;
  for (int i = 0; i < options.repetitions; ++i) {
    peaks.push_back(bench::peak_flops<float>(1));
    times.push_back(seconds(calls));
  }
  return {bench::spread_of(times).median, bench::spread_of(peaks).median};
}

void print_row(const std::string& name, int threads, double flops, const Timing& t) {
  std::printf("%-34s %d  %9.1f us  %8.1f GFLOP/s  %5.1f %% of the peak\n", name.c_str(), threads,
              t.seconds * 1e6, flops / t.seconds / 1e9,
              100 * flops / t.seconds / (threads * t.peak));
  std::fflush(stdout);
}

void measure(const Layer& layer, const Options& options) {
  const bg::Conv2dOptions how{layer.stride, layer.padding};
  const bg::Expr x = bg::input("x", layer.x), w = bg::input("w", layer.w);
  const bg::Expr y = bg::conv2d(x, w, how);
  const bg::Expr dy = bg::input("dy", y.shape());
  const auto random = [](const bg::Expr& of) {
    return bg::Feed{of, bg::normal_tensor(of.shape(), 0, 1, bg::draw_of(bg::leaf_name(of)))};
  };
  const bg::Feed fx = random(x), fw = random(w), fdy = random(dy);
  const bg::Pair image{layer.x[2], layer.x[3]}, kernel{layer.w[2], layer.w[3]};
  struct Row {
    const char* name;
    bg::Expr result;
    bg::Feeds feeds;
  };
  const Row rows[] = {
      {"forward", y, {fx, fw}},
      {"to the input", bg::make(bg::Conv2dInput{how, image}, {dy, w}), {fdy, fw}},
      {"to the weight", bg::make(bg::Conv2dWeight{how, kernel}, {x, dy}), {fx, fdy}},
  };
  const double flops = 2.0 * static_cast<double>(y.shape().size()) *
                       static_cast<double>(layer.w[1] * layer.w[2] * layer.w[3]);
  for (const Row& row : rows) {
    for (const int threads : options.threads) {
      bg::Program program =
          bg::compile({row.result}, {}, bg::cpu(), {.threads = threads, .isa = options.isa});
      print_row(std::string(layer.name) + " " + row.name, threads, flops,
                timed(options, program, {row.feeds}));
    }
  }
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app{"Convolutions forward and to both operands"};
  app.add_option("--threads", options.threads, "thread counts")->check(CLI::PositiveNumber);
  app.add_option("--isa", options.isa, "portable, avx2, avx512 or neon; the best if not given");
  app.add_option("--only", options.only, "layers whose name begins so");
  app.add_option("--repetitions", options.repetitions, "of each row")->check(CLI::PositiveNumber);
  app.add_option("--milliseconds", options.milliseconds, "of each repetition, at least one call");
  CLI11_PARSE(app, argc, argv);

  const Layer layers[] = {
      {"lenet 1-16 5x5 28x28", {64, 1, 28, 28}, {16, 1, 5, 5}, 1, 2},
      {"lenet 16-32 5x5 14x14", {64, 16, 14, 14}, {32, 16, 5, 5}, 1, 2},
      {"resnet 3-16 3x3 32x32", {64, 3, 32, 32}, {16, 3, 3, 3}, 1, 1},
      {"resnet 16-16 3x3 32x32", {64, 16, 32, 32}, {16, 16, 3, 3}, 1, 1},
      {"resnet 16-32 3x3/2 32x32", {64, 16, 32, 32}, {32, 16, 3, 3}, 2, 1},
      {"resnet 16-32 1x1/2 32x32", {64, 16, 32, 32}, {32, 16, 1, 1}, 2, 0},
      {"resnet 32-32 3x3 16x16", {64, 32, 16, 16}, {32, 32, 3, 3}, 1, 1},
      {"resnet 32-64 3x3/2 16x16", {64, 32, 16, 16}, {64, 32, 3, 3}, 2, 1},
      {"resnet 64-64 3x3 8x8", {64, 64, 8, 8}, {64, 64, 3, 3}, 1, 1},
      {"one image 64-64 3x3 56x56", {1, 64, 56, 56}, {64, 64, 3, 3}, 1, 1},
  };
  std::printf("%s", bg::device_report().c_str());
  std::string names;
  bool is_any = false;
  for (const Layer& layer : layers) {
    names += std::string("\n  ") + layer.name;
    if (!std::string_view(layer.name).starts_with(options.only)) continue;
    measure(layer, options);
    is_any = true;
  }
  bg::require(is_any, "no layer's name begins with '", options.only, "'; there are:", names);
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return bench::run_main(run, argc, argv); }
