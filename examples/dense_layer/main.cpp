// One dense layer: every neuron weighs all inputs, adds them up, and squashes the sum.

#include <cstdio>

#include "blockgrad/blockgrad.h"
#include "support/command_line.h"

namespace {

using namespace blockgrad;

void print_sum(const Tensor& weights, const Tensor& inputs, std::int64_t neuron, double z,
               double output) {
  std::printf("  neuron %lld: z =", static_cast<long long>(neuron + 1));
  for (std::int64_t i = 0; i < inputs.size(); ++i) {
    std::printf("%s %g*%g", i == 0 ? "" : " +", weights.at(neuron * inputs.size() + i),
                inputs.at(i));
  }
  std::printf(" = %.2f, output = 1 / (1 + exp(-z)) = %.4f\n", z, output);
}

int run(int argc, char** argv) {
  std::vector<double> numbers{0.5, 0.3, 0.2};
  CLI::App app(
      "A dense layer of three neurons: z = W x, output = sigmoid(z).\n"
      "W has one row of weights for each neuron: 0.1 0.2 0.3, 0.4 0.5 0.6, 0.7 0.8 0.9.",
      "dense_layer");
  examples::add_numbers(app, "--inputs", numbers, "three numbers (default: 0.5,0.3,0.2)");
  if (const auto end = examples::parse(app, argc, argv)) return *end;

  const Tensor weights = tensor({0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9}, {3, 3});
  const Tensor inputs =
      tensor(std::span<const double>(numbers), {static_cast<std::int64_t>(numbers.size())});

  const Expr x = input("x", inputs.shape(), DType::f64);  // [inputs]
  const Expr z = matmul(constant(weights), x);            // [neurons]
  const Expr outputs = sigmoid(z);                        // [neurons]
  const Expr slopes = grad(sum(outputs), {x})[0];         // [inputs]

  Program layer = compile({z, outputs, slopes});
  const Results results = layer.run({{x, inputs}});
  std::printf("One row of weights for each neuron, one product of a matrix with a vector:\n\n");
  for (std::int64_t n = 0; n < 3; ++n)
    print_sum(weights, inputs, n, results.tensor(0).at(n), results.tensor(1).at(n));
  std::printf("\n  z       ");
  for (std::int64_t n = 0; n < 3; ++n) std::printf(" %.2f  ", results.tensor(0).at(n));
  std::printf("\n  outputs ");
  for (std::int64_t n = 0; n < 3; ++n) std::printf(" %.4f", results.tensor(1).at(n));
  std::printf("\n\nWhat the sum of the outputs gains when one input grows (its gradient):\n\n ");
  for (std::int64_t i = 0; i < 3; ++i) std::printf(" %.4f", results.tensor(2).at(i));
  std::printf("\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return examples::guarded("dense_layer", [&] { return run(argc, argv); });
}
