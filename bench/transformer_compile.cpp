// How long a GPT-2-like training step takes to build, differentiate and compile, per node. The
// parameters exist before the clock starts; the first touch of memory is not counted.
// `bench_transformer_compile [LAYERS] [REPEATS]`, 12 layers of width 768 by default.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <unordered_set>
#include <vector>

#include "blockgrad/blockgrad.h"
#include "support/run_main.h"

namespace bg = blockgrad;

namespace {

constexpr std::int64_t width = 768, heads = 12, length = 64, batch = 2, vocabulary = 512;

bg::Expr make_parameter(const bg::Shape& shape, const std::string& name) {
  return bg::parameter(bg::zeros(shape), name);
}

struct Norm {
  bg::Expr gain, shift;
  explicit Norm(const std::string& name)
      : gain(make_parameter({width}, name + ".gain")),
        shift(make_parameter({width}, name + ".shift")) {}
  bg::Expr operator()(const bg::Expr& x) const { return bg::layer_norm(x, gain, shift); }
};

struct Linear {
  bg::Expr w, b;
  Linear(const std::string& name, std::int64_t in, std::int64_t out)
      : w(make_parameter({in, out}, name + ".w")), b(make_parameter({out}, name + ".b")) {}
  bg::Expr operator()(const bg::Expr& x) const { return bg::linear(x, w, b); }
};

bg::Expr split_heads(const bg::Expr& x) {
  static const std::vector<int> order{0, 2, 1, 3};
  return bg::permute_dims(bg::reshape(x, {batch, length, heads, width / heads}), order);
}

struct Block {
  Norm norm1, norm2;
  Linear qkv, projection, wide, narrow;
  explicit Block(const std::string& name)
      : norm1(name + ".norm1"),
        norm2(name + ".norm2"),
        qkv(name + ".qkv", width, 3 * width),
        projection(name + ".projection", width, width),
        wide(name + ".wide", width, 4 * width),
        narrow(name + ".narrow", 4 * width, width) {}

  bg::Expr operator()(const bg::Expr& x) const {
    const bg::Expr y = x + attention(norm1(x));
    return y + narrow(bg::gelu_tanh(wide(norm2(y))));
  }
  bg::Expr attention(const bg::Expr& x) const {
    const bg::Scope scope("attention");
    const std::vector<bg::Expr> parts = bg::split(qkv(x), 3, -1);
    const bg::Expr mixed = bg::attention(split_heads(parts[0]), split_heads(parts[1]),
                                         split_heads(parts[2]), {.causal = true});
    static const std::vector<int> order{0, 2, 1, 3};
    return projection(bg::reshape(bg::permute_dims(mixed, order), {batch, length, width}));
  }
};

struct Model {
  bg::Expr tokens = make_parameter({vocabulary, width}, "tokens");
  bg::Expr positions = make_parameter({length, width}, "positions");
  std::vector<Block> blocks;
  Norm last{"last"};
  explicit Model(int layers) {
    for (int i = 0; i < layers; ++i) blocks.emplace_back("block" + std::to_string(i));
  }
  bg::Loss operator()(const bg::Expr& ids, const bg::Expr& targets) const {
    bg::Expr x = bg::take(tokens, ids) + positions;
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      const bg::Scope scope("block" + std::to_string(i));
      x = blocks[i](x);
    }
    return bg::cross_entropy(bg::matmul(last(x), tokens, {.transpose_b = true}), targets);
  }
};

std::size_t nodes_behind(const bg::Loss& loss, const bg::Updates& updates) {
  std::vector<const bg::Node*> open{loss.sum.node()};
  for (const bg::Update& update : updates.all()) {
    open.push_back(update.value.node());
    if (update.guard) open.push_back(update.guard.node());
  }
  std::unordered_set<const bg::Node*> seen(open.begin(), open.end());
  open.assign(seen.begin(), seen.end());
  while (!open.empty()) {
    const bg::Node* node = open.back();
    open.pop_back();
    for (const bg::Expr& input : node->inputs) {
      if (seen.insert(input.node()).second) open.push_back(input.node());
    }
  }
  return seen.size();
}

using Clock = std::chrono::steady_clock;

struct Times {
  double build = 0, minimize = 0, compile = 0, total = 0, touch = 0;  // milliseconds
  std::size_t forward = 0, nodes = 0;
  std::string passes;
};

Times measure(const Model& model, bg::Optimizer& optimizer) {
  const auto milliseconds = [last = Clock::now()]() mutable {
    const auto now = Clock::now();
    return std::chrono::duration<double, std::milli>(now - std::exchange(last, now)).count();
  };
  Times times;
  auto lap = milliseconds;
  const bg::Expr ids = bg::input("ids", {batch, length}, bg::DType::i32);
  const bg::Expr targets = bg::input("targets", {batch, length}, bg::DType::i32);
  const bg::Loss loss = model(ids, targets);
  times.build = lap();
  const bg::Updates updates = bg::minimize(optimizer, loss);
  times.minimize = lap();
  const bg::Program step = bg::compile({loss}, updates);
  times.touch = step.report().touch_seconds * 1e3;
  times.compile = lap() - times.touch;
  times.total = times.build + times.minimize + times.compile;
  times.forward = nodes_behind(loss, {});
  times.nodes = nodes_behind(loss, updates);
  for (const std::string& pass : step.report().passes) times.passes += "  " + pass + "\n";
  return times;
}

int run(int argc, char** argv) {
  const std::vector<int> numbers =
      bench::numbers_of(argc, argv, "bench_transformer_compile [LAYERS] [REPEATS]", {12, 11});
  const int layers = numbers[0], repeats = numbers[1];
  const Model model(layers);
  bg::Optimizer optimizer{bg::AdamW{}};
  measure(model, optimizer);  // makes the optimizer's slots: initial values do not count
  std::vector<Times> all;
  for (int i = 0; i < repeats; ++i) all.push_back(measure(model, optimizer));
  std::sort(all.begin(), all.end(),
            [](const Times& a, const Times& b) { return a.total < b.total; });
  const Times& t = all[all.size() / 2];
  const auto row = [&](const char* name, double ms) {
    std::printf("%-28s %8.2f ms  %6.2f us per node\n", name, ms,
                ms * 1e3 / static_cast<double>(t.nodes));
  };
  std::printf("%d layers, width %lld: %zu nodes, %zu of them forward; median of %d\n", layers,
              static_cast<long long>(width), t.nodes, t.forward, repeats);
  row("build", t.build);
  row("gradient and updates", t.minimize);
  row("compile", t.compile);
  std::printf("%s", t.passes.c_str());
  row("total", t.total);
  std::printf("first touch of memory, not counted: %.0f ms\n", t.touch);
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return bench::run_main(run, argc, argv); }
