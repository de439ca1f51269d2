// How long a GPT-2-like training step takes to build, differentiate and compile, per node. The
// parameters exist before the clock starts; the first touch of memory is not counted.
// `bench_transformer_compile [LAYERS] [REPEATS]`, 12 layers of width 768 by default.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <unordered_set>
#include <vector>

#include "blockgrad/blockgrad.h"

namespace bg = blockgrad;

namespace {

constexpr std::int64_t width = 768, heads = 12, length = 64, batch = 2, vocabulary = 512;

// Decoupled weight decay and two moments per parameter (Loshchilov and Hutter 2019).
struct AdamW {
  std::vector<std::pair<std::string, double>> settings() const {
    return {{"learning_rate", 3e-4},
            {"beta1", 0.9},
            {"beta2", 0.95},
            {"epsilon", 1e-8},
            {"weight_decay", 0.1}};
  }
  void update(bg::UpdateRule& rule) const {
    const bg::Expr& w = rule.parameter();
    const auto number = [&](std::string_view name) {
      return bg::astype(rule.setting(name), w.dtype());
    };
    const bg::Expr m = rule.slot("m"), v = rule.slot("v");
    const bg::Expr next_m = number("beta1") * m + (1.0 - number("beta1")) * rule.gradient();
    const bg::Expr next_v = number("beta2") * v + (1.0 - number("beta2")) * square(rule.gradient());
    rule.set(m, next_m);
    rule.set(v, next_v);
    rule.set(w, w - number("learning_rate") *
                        (next_m / (sqrt(next_v) + number("epsilon")) + number("weight_decay") * w));
  }
};

bg::Expr make_parameter(const bg::Shape& shape, const std::string& name) {
  return bg::parameter(bg::zeros(shape), name);
}

struct Norm {
  bg::Expr gain, shift;
  explicit Norm(const std::string& name)
      : gain(make_parameter({width}, name + ".gain")),
        shift(make_parameter({width}, name + ".shift")) {}
  bg::Expr operator()(const bg::Expr& x) const {
    const bg::Expr centred = x - bg::mean(x, -1, true);
    const bg::Expr variance = bg::mean(square(centred), -1, true);
    return centred * rsqrt(variance + 1e-5) * gain + shift;
  }
};

struct Linear {
  bg::Expr w, b;
  Linear(const std::string& name, std::int64_t in, std::int64_t out)
      : w(make_parameter({in, out}, name + ".w")), b(make_parameter({out}, name + ".b")) {}
  bg::Expr operator()(const bg::Expr& x) const { return bg::linear(x, w, b); }
};

bg::Expr gelu(const bg::Expr& x) {
  static const auto formula = bg::elementwise(
      [](auto a) { return 0.5 * a * (1 + tanh(0.7978845608028654 * (a + 0.044715 * a * a * a))); });
  return formula(x);
}

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

  bg::Expr operator()(const bg::Expr& x, const bg::Expr& mask) const {
    const bg::Expr y = x + attention(norm1(x), mask);
    return y + narrow(gelu(wide(norm2(y))));
  }
  bg::Expr attention(const bg::Expr& x, const bg::Expr& mask) const {
    const bg::Scope scope("attention");
    const bg::Expr all = qkv(x);
    const bg::Expr q = split_heads(bg::slice(all, -1, 0, width));
    const bg::Expr k = split_heads(bg::slice(all, -1, width, 2 * width));
    const bg::Expr v = split_heads(bg::slice(all, -1, 2 * width, 3 * width));
    const bg::Expr scores = bg::matmul(q, k, {.transpose_b = true}) / std::sqrt(64.0) + mask;
    static const std::vector<int> order{0, 2, 1, 3};
    const bg::Expr joined = bg::permute_dims(bg::matmul(bg::softmax(scores), v), order);
    return projection(bg::reshape(joined, {batch, length, width}));
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
  bg::Loss operator()(const bg::Expr& ids, const bg::Expr& targets, const bg::Expr& mask) const {
    bg::Expr x = bg::take(tokens, ids) + positions;
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      const bg::Scope scope("block" + std::to_string(i));
      x = blocks[i](x, mask);
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

bg::Tensor causal_mask() {
  std::vector<float> values(static_cast<std::size_t>(length * length));
  for (std::int64_t i = 0; i < length; ++i) {
    for (std::int64_t j = i + 1; j < length; ++j)
      values[static_cast<std::size_t>(i * length + j)] = -1e9f;
  }
  return bg::tensor(std::span<const float>(values), {length, length});
}

using Clock = std::chrono::steady_clock;

struct Times {
  double build = 0, minimize = 0, compile = 0, total = 0, touch = 0;  // milliseconds
  std::size_t forward = 0, nodes = 0;
  std::string passes;
};

Times measure(const Model& model, bg::Optimizer& optimizer, const bg::Tensor& mask) {
  const auto milliseconds = [last = Clock::now()]() mutable {
    const auto now = Clock::now();
    return std::chrono::duration<double, std::milli>(now - std::exchange(last, now)).count();
  };
  Times times;
  auto lap = milliseconds;
  const bg::Expr ids = bg::input("ids", {batch, length}, bg::DType::i32);
  const bg::Expr targets = bg::input("targets", {batch, length}, bg::DType::i32);
  const bg::Loss loss = model(ids, targets, bg::constant(mask));
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

}  // namespace

int main(int argc, char** argv) {
  const int layers = argc > 1 ? std::atoi(argv[1]) : 12;
  const int repeats = argc > 2 ? std::atoi(argv[2]) : 11;
  if (layers < 1 || repeats < 1) {
    std::fprintf(stderr, "usage: bench_transformer_compile [LAYERS] [REPEATS]\n");
    return 2;
  }
  const Model model(layers);
  bg::Optimizer optimizer{AdamW{}};
  const bg::Tensor mask = causal_mask();
  measure(model, optimizer, mask);  // makes the optimizer's slots: initial values do not count
  std::vector<Times> all;
  for (int i = 0; i < repeats; ++i) all.push_back(measure(model, optimizer, mask));
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
}
