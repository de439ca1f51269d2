// A look inside one training step of a transformer block: what its gradients meet, where its memory
// goes, what became one kernel, how products are cut into blocks, and how long each kernel takes.

#include <cmath>
#include <cstdio>

#include "blockgrad/blockgrad.h"
#include "support/command_line.h"
#include "support/picture.h"
#include "support/random.h"

namespace {

using namespace blockgrad;

constexpr std::int64_t batch = 4, length = 32, width = 64, heads = 4, depth = width / heads;

struct Options {
  int runs = 20;
  std::string svg;
};

Expr weights(const std::string& name, const Shape& shape, examples::Random& random) {
  const double reach = 1 / std::sqrt(static_cast<double>(shape[0]));
  return parameter(random.uniform(shape, -reach, reach), name);
}

struct Block {
  Expr gain1 = parameter(ones({width}), "gain1"), gain2 = parameter(ones({width}), "gain2");
  Expr qkv, out, wide, narrow;

  explicit Block(examples::Random& random)
      : qkv(weights("qkv", {width, 3 * width}, random)),
        out(weights("out", {width, width}, random)),
        wide(weights("wide", {width, 4 * width}, random)),
        narrow(weights("narrow", {4 * width, width}, random)) {}

  /// Rows of mean square 1, times a gain.
  static Expr norm(const Expr& x, const Expr& gain) {
    return x * rsqrt(mean(square(x), -1, true) + 1e-6) * gain;
  }

  static Expr split(const Expr& x, std::int64_t part) {
    static constexpr int order[] = {0, 2, 1, 3};
    const Expr mine = slice(x, -1, part * width, (part + 1) * width);  // [batch, length, width]
    return permute_dims(reshape(mine, {batch, length, heads, depth}),
                        order);  // [.., heads, length, depth]
  }

  Expr attention(const Expr& x, const Expr& mask) const {
    const Scope scope("attention");
    static constexpr int order[] = {0, 2, 1, 3};
    const Expr all = matmul(x, qkv);
    const Expr scores = matmul(split(all, 0), split(all, 1), {.transpose_b = true});
    const Expr shares = softmax(where(mask, scores / std::sqrt(static_cast<double>(depth)), -1e9));
    const Expr mixed = permute_dims(matmul(shares, split(all, 2)), order);
    return matmul(reshape(mixed, {batch, length, width}), out);
  }

  Expr operator()(const Expr& x, const Expr& mask) const {
    const Expr y = x + attention(norm(x, gain1), mask);
    const Scope scope("feed_forward");
    return y + matmul(silu(matmul(norm(y, gain2), wide)), narrow);
  }
};

/// Who may look at whom: nobody ahead.
Expr causal_mask() {
  const Shape square_shape{length, length};
  return coordinate(square_shape, 0) >= coordinate(square_shape, 1);
}

void inspect(const Options& options) {
  examples::Random random(1);
  const Block block(random);
  const Expr x = input("x", {batch, length, width}),
             target = input("target", {batch, length, width});
  const Loss loss = mse_loss(block(x, causal_mask()), target);

  std::printf("1. What the gradient meets: audit(loss)\n\n%s\n", to_string(audit(loss)).c_str());

  Optimizer optimizer(Sgd{.learning_rate = 0.1, .momentum = 0.9});
  Program step = compile({loss}, minimize(optimizer, loss));
  std::printf("2. What compile made of it: step.explain()\n\n%s\n", step.explain().c_str());

  const Feeds feeds{{x, random.uniform({batch, length, width}, -1, 1)},
                    {target, random.uniform({batch, length, width}, -1, 1)}};
  step.profile(feeds, options.runs);
  std::printf("3. Where the time goes: step.profile(feeds), then step.explain()\n\n%s",
              step.explain().c_str());
  if (options.svg.empty()) return;
  const examples::Picture picture = examples::draw_graph(step.to_dot(), options.svg);
  for (const std::string& file : picture.files) std::printf("\nwrote %s", file.c_str());
  std::printf("\n%s", picture.note.c_str());
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app("Look inside one training step of a transformer block.", "inspect_graph");
  app.add_option("--runs", options.runs, "Runs of the profile")
      ->check(examples::whole_number(1))
      ->capture_default_str();
  app.add_option("--svg", options.svg, "Draw the compiled graph, with Graphviz")
      ->check(CLI::Validator(examples::check_output_file, ""));
  if (const auto code = examples::parse(app, argc, argv)) return *code;
  inspect(options);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return examples::guarded("inspect_graph", [&] { return run(argc, argv); });
}
