// A forward pass through a network of 3 inputs, 4 hidden neurons and 2 outputs, layer by layer;
// then training, which turns it around: from the loss back to every weight.

#include <cstdio>

#include "blockgrad/blockgrad.h"
#include "support/command_line.h"
#include "support/number.h"
#include "support/random.h"
#include "support/table.h"

namespace {

using namespace blockgrad;

struct Options {
  std::vector<double> inputs{0.5, 0.3, 0.2}, target{0.9, 0.1};
  std::uint64_t seed = 1;
  std::int64_t updates = 300;
  double learning_rate = 1;
};

/// a = sigmoid(W x + b), one row of W for each neuron.
struct Layer {
  Expr weights, bias;

  Layer(std::int64_t inputs, std::int64_t neurons, const std::string& name,
        examples::Random& random)
      : weights(parameter(random.uniform({neurons, inputs}, -1, 1), name + ".weights")),
        bias(parameter(random.uniform({neurons}, -1, 1), name + ".bias")) {}

  Expr sums(const Expr& x) const { return matmul(weights, x) + bias; }  // [neurons]
};

Tensor vector_of(const std::vector<double>& numbers) {
  const auto size = static_cast<std::int64_t>(numbers.size());
  return tensor(std::span<const double>(numbers), {size}).astype(DType::f32);
}

std::string row(const Tensor& values, std::int64_t first, std::int64_t count) {
  std::string text;
  for (std::int64_t i = first; i < first + count; ++i) {
    const std::string digits = examples::decimals(values.at(i), 4);
    text += (digits[0] == '-' ? "  " : "   ") + digits;
  }
  return text;
}

void print_layer(int number, const Layer& layer, const Tensor& x, const Tensor& z,
                 const Tensor& a) {
  const Tensor weights = layer.weights.value(), bias = layer.bias.value();
  std::printf("layer %d: %lld numbers in, %lld neurons\n", number, static_cast<long long>(x.size()),
              static_cast<long long>(z.size()));
  for (std::int64_t n = 0; n < z.size(); ++n) {
    std::printf("  %s%s  bias%s\n", n == 0 ? "weights" : "       ",
                row(weights, n * x.size(), x.size()).c_str(), row(bias, n, 1).c_str());
  }
  std::printf("  in     %s\n  z      %s\n  out    %s\n\n", row(x, 0, x.size()).c_str(),
              row(z, 0, z.size()).c_str(), row(a, 0, a.size()).c_str());
}

std::optional<int> read_options(int argc, char** argv, Options& options) {
  CLI::App app(
      "A 3-4-2 network with bias and sigmoid: prints what every layer makes of the inputs,\n"
      "then trains the network until its outputs are those that were asked for.\n"
      "Weights and biases are drawn evenly between -1 and 1.",
      "forward_pass");
  const CLI::Validator zero_to_one = examples::number_where(
      "a number between 0 and 1, as sigmoid gives them", [](double x) { return x > 0 && x < 1; });
  examples::add_numbers(app, "--inputs", options.inputs, "three numbers (default: 0.5,0.3,0.2)");
  examples::add_numbers(app, "--target", options.target,
                        "two outputs to train for (default: 0.9,0.1)")
      ->check(zero_to_one);
  app.add_option("--seed", options.seed, "of weights and biases (default: 1)")
      ->check(examples::whole_number(0))
      ->type_name("N");
  app.add_option("--updates", options.updates, "of the weights (default: 300)")
      ->check(examples::whole_number(0))
      ->type_name("N");
  app.add_option("--learning-rate", options.learning_rate, "of gradient descent (default: 1)")
      ->check(examples::number_where("a number above 0", [](double x) { return x > 0; }))
      ->type_name("X");
  return examples::parse(app, argc, argv);
}

int run(int argc, char** argv) {
  Options options;
  if (const auto end = read_options(argc, argv, options)) return *end;
  const Tensor inputs = vector_of(options.inputs), target = vector_of(options.target);

  examples::Random random(options.seed);
  const Layer first(3, 4, "first", random), second(4, 2, "second", random);
  const Expr x = input("x", inputs.shape());          // [3]
  const Expr z1 = first.sums(x), a1 = sigmoid(z1);    // [4]
  const Expr z2 = second.sums(a1), a2 = sigmoid(z2);  // [2]

  Program forward = compile({z1, a1, z2, a2});
  const Results values = forward.run({{x, inputs}});
  print_layer(1, first, inputs, values.tensor(0), values.tensor(1));
  print_layer(2, second, values.tensor(1), values.tensor(2), values.tensor(3));

  const Loss loss = mse_loss(a2, constant(target));
  Optimizer descent(Sgd{.learning_rate = options.learning_rate});
  Program step = compile({}, minimize(descent, loss)), look = compile({loss, a2});
  std::printf("Training towards%s: loss = mean of (out - target)^2\n\n",
              row(target, 0, target.size()).c_str());
  examples::Table table({"updates", "loss", "outputs"});
  const std::int64_t rows = std::min<std::int64_t>(options.updates, 10);
  for (std::int64_t r = 0, done = 0; r <= rows; ++r) {
    const std::int64_t until = rows == 0 ? 0 : options.updates * r / rows;
    if (until > done) step.run_many(until - done, {{{x, inputs}}});
    done = until;
    const Results now = look.run({{x, inputs}});
    table.add({std::to_string(done), examples::number(now.number(0), 4),
               row(now.tensor(1), 0, 2).substr(3)});
  }
  std::printf("%s", table.to_string().c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return examples::guarded("forward_pass", [&] { return run(argc, argv); });
}
