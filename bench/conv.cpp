// Convolutions of LeNet and of a small ResNet, forward and to both operands, beside the processor's
// own rate of multiply-adds, which is measured next to each repetition; and whole training steps of
// the two models. All on random data; the table shows medians.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "blockgrad/blockgrad.h"
#include "support/native.h"

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

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

bg::Tensor random_tensor(const bg::Shape& shape, float scale = 1) {
  static std::mt19937 generator(1);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(static_cast<std::size_t>(shape.size()));
  for (float& v : values) v = normal(generator);
  return bg::tensor(std::span<const float>(values), shape);
}

bg::Tensor random_labels(std::int64_t n, int classes) {
  static std::mt19937 generator(2);
  std::vector<std::int32_t> labels(static_cast<std::size_t>(n));
  for (std::int32_t& l : labels)
    l = static_cast<std::int32_t>(generator() % static_cast<unsigned>(classes));
  return bg::tensor(std::span<const std::int32_t>(labels), {n});
}

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
  return {median(times), median(peaks)};
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
  const bg::Feed fx{x, random_tensor(layer.x)}, fw{w, random_tensor(layer.w)},
      fdy{dy, random_tensor(y.shape())};
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

bg::Expr weight(const std::string& name, const bg::Shape& shape) {
  const double inputs = static_cast<double>(shape.size() / shape[0]);
  return bg::parameter(random_tensor(shape, static_cast<float>(std::sqrt(2 / inputs))), name);
}

/// conv 1-16-32 of 5 x 5, pool, linear; 28 x 28 images.
bg::Loss lenet(const bg::Expr& x, const bg::Expr& labels) {
  const auto layer = [](const bg::Expr& in, const std::string& name, std::int64_t channels) {
    const bg::Expr w = weight(name + ".w", {channels, in.shape()[1], 5, 5});
    const bg::Expr b = bg::parameter(bg::zeros({channels}), name + ".b");
    return bg::max_pool2d(bg::relu(bg::conv2d(in, w, {.padding = 2}, b)), 2);
  };
  const bg::Expr features = layer(layer(x, "conv1", 16), "conv2", 32);  // [N, 32, 7, 7]
  const bg::Expr flat = bg::reshape(features, {x.shape()[0], -1});
  const bg::Expr w = bg::parameter(random_tensor({flat.shape()[1], 10}, 0.05F), "linear.w");
  const bg::Expr b = bg::parameter(bg::zeros({10}), "linear.b");
  return bg::cross_entropy(bg::linear(flat, w, b), labels);
}

/// Eight convolutions of 3 x 3 in four blocks of 16, 16, 32 and 64 channels, batch norm, skips.
class ResNet {
 public:
  explicit ResNet(bg::Context& context) : context_(context) {}

  bg::Loss operator()(const bg::Expr& x, const bg::Expr& labels) {
    bg::Expr h = bg::relu(conv(x, 16, 3, 1));
    h = block(h, 16, 1);
    h = block(h, 32, 2);
    h = block(h, 64, 2);
    h = bg::relu(conv(h, 64, 3, 1));
    const bg::Expr flat = bg::reshape(bg::global_avg_pool(h), {x.shape()[0], -1});
    const bg::Expr w = bg::parameter(random_tensor({64, 10}, 0.1F), "linear.w");
    const bg::Expr b = bg::parameter(bg::zeros({10}), "linear.b");
    return bg::cross_entropy(bg::linear(flat, w, b), labels);
  }

 private:
  bg::Expr conv(const bg::Expr& x, std::int64_t channels, std::int64_t size, std::int64_t stride) {
    const std::string name = "conv" + std::to_string(++count_);
    const bg::Expr w = weight(name + ".w", {channels, x.shape()[1], size, size});
    const bg::Expr gain = bg::parameter(bg::ones({channels}), name + ".gain");
    const bg::Expr shift = bg::parameter(bg::zeros({channels}), name + ".shift");
    const bg::BatchStats stats{bg::state(bg::zeros({channels}), name + ".mean"),
                               bg::state(bg::ones({channels}), name + ".variance")};
    const bg::Expr y = bg::conv2d(x, w, {.stride = stride, .padding = size / 2});
    return bg::batch_norm(y, gain, shift, stats, context_);
  }
  bg::Expr block(const bg::Expr& x, std::int64_t channels, std::int64_t stride) {
    const bg::Expr y = conv(bg::relu(conv(x, channels, 3, stride)), channels, 3, 1);
    return bg::relu(y + (stride == 1 ? x : conv(x, channels, 1, stride)));
  }

  bg::Context& context_;
  int count_ = 0;
};

void measure_step(
    const char* name, const bg::Shape& image, double momentum,
    const std::function<bg::Loss(bg::Context&, const bg::Expr&, const bg::Expr&)>& model,
    const Options& options) {
  for (const int threads : options.threads) {
    const bg::Expr x = bg::input("x", image),
                   labels = bg::input("labels", {image[0]}, bg::DType::i32);
    bg::Context context;
    const bg::Loss loss = model(context, x, labels);
    bg::Optimizer optimizer(bg::Sgd{.learning_rate = 0.01, .momentum = momentum});
    const bg::Updates updates = bg::minimize(optimizer, loss) + context.updates();
    bg::Program program =
        bg::compile({loss}, updates, bg::cpu(), {.threads = threads, .isa = options.isa});
    const std::vector<bg::Feeds> feeds{
        {{x, random_tensor(image)}, {labels, random_labels(image[0], 10)}}};
    print_row(name, threads, program.report().flops, timed(options, program, feeds));
    if (options.only == name) {
      program.profile(feeds[0]);
      std::printf("%s\n", program.explain().c_str());
    }
  }
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app{"Convolutions, and training steps of two models made of them"};
  app.add_option("--threads", options.threads, "thread counts")->check(CLI::PositiveNumber);
  app.add_option("--isa", options.isa, "portable, avx2, avx512 or neon; the best if not given");
  app.add_option("--only", options.only,
                 "rows whose name begins so; a whole model also explains itself");
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
  const auto is_asked = [&](std::string_view name) { return name.starts_with(options.only); };
  for (const Layer& layer : layers) {
    if (is_asked(layer.name)) measure(layer, options);
  }
  if (is_asked("LeNet step")) {
    measure_step(
        "LeNet step", {64, 1, 28, 28}, 0,
        [](bg::Context&, const bg::Expr& x, const bg::Expr& t) { return lenet(x, t); }, options);
  }
  if (is_asked("ResNet step")) {
    measure_step(
        "ResNet step", {64, 3, 32, 32}, 0.9,
        [](bg::Context& c, const bg::Expr& x, const bg::Expr& t) { return ResNet(c)(x, t); },
        options);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
