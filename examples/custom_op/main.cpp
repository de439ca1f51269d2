// Three ways to write an operation of your own: a function of other operations, a formula, and an
// op with kernels. Each is differentiated and compiled like a built-in one.

#include <cstdio>
#include <functional>

#include "blockgrad/blockgrad.h"
#include "custom_op/smooth.h"
#include "support/command_line.h"

namespace {

using namespace blockgrad;

/// 1. A composition: shortens each row to a length below 1 and keeps its direction.
/// y = x |x| / (1 + |x|^2); x: [n, d] -> the same. The gradient follows from the parts.
Expr squash(const Expr& x) {
  const Expr squared = sum(square(x), -1, true);  // [n, 1]
  return x * sqrt(squared) / (1 + squared);       // [n, d]
}

/// 2. Elementwise ops from one lambda each: recorded once per use, differentiated and fused.
const auto swish = elementwise([](auto x) { return x / (1 + exp(-x)); });
const auto gated = elementwise([](auto x, auto gate) { return x * gate / (1 + exp(-gate)); });

using Function = std::function<Expr(std::span<const Expr>)>;

/// Prints the op's value, the gradient of its sum by the last input, and what central differences
/// say of all gradients.
void show(const char* title, const Function& op, const std::vector<Tensor>& at,
          const Device& device) {
  std::vector<Expr> inputs;
  std::vector<Feed> feeds;
  for (const Tensor& tensor : at) {
    inputs.push_back(input("x" + std::to_string(inputs.size()), tensor.shape(), tensor.dtype()));
    feeds.push_back({inputs.back(), tensor});
  }
  const Expr y = op(inputs);
  Program program = compile({y, grad(sum(y), {inputs.back()})[0]}, {}, device);
  const Results results = program.run(feeds);
  const GradientReport checked = check_gradient(op, at, {.second_order = true});
  std::printf("%s\n  value    %s\n  gradient %s\n  kernels  %lld\n", title,
              to_string(results.tensor(0)).c_str(), to_string(results.tensor(1)).c_str(),
              static_cast<long long>(program.report().kernels));
  std::printf("  checked  %lld slopes, first and second order: largest error %s 1e-6\n\n",
              static_cast<long long>(checked.comparisons()),
              checked.error() < 1e-6 ? "below" : "ABOVE");
}

int run(int argc, char** argv) {
  CLI::App app("Three ways to write an operation of your own; see docs/custom_ops.md.",
               "custom_op");
  std::string name = "cpu";
  app.add_option("--device", name, "what computes values and gradients: cpu or cuda (default: cpu)")
      ->type_name("NAME");
  if (const auto end = examples::parse(app, argc, argv)) return *end;
  const Device device = blockgrad::device(name);

  show(
      "1. squash, a function of other operations", [](auto x) { return squash(x[0]); },
      {tensor({3.0, 4.0, 0.3, 0.4}, {2, 2})}, device);
  const Tensor numbers = tensor({-1.0, 0.0, 1.0}, {3});
  show("2. swish, one formula", [](auto x) { return swish(x[0]); }, {numbers}, device);
  show(
      "   gated, one formula of two inputs", [](auto x) { return gated(x[0], x[1]); },
      {numbers, tensor({2.0, 2.0, -2.0}, {3})}, device);
  custom_op::add_smooth_kernels();
  show(
      "3. smooth, an op with its own kernels", [](auto x) { return custom_op::smooth(x[0], 0.5); },
      {tensor({8.0, 0.0, 0.0, 8.0}, {4})}, device);

  std::printf("Mistakes name the op and the line that uses it:\n");
  try {
    (void)custom_op::smooth(constant(eye(2)), 0.5);
  } catch (const Error& error) {
    std::printf("  %s\n", error.what());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return examples::guarded("custom_op", [&] { return run(argc, argv); });
}
