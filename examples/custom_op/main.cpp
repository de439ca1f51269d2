// Three ways to write an operation of your own: a function of other operations, a formula, and an
// op with a kernel. Each is differentiated and compiled like a built-in one.

#include <cstdio>

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

/// Prints y and the gradient of its sum by x.
void show(const char* title, const Expr& y, const Expr& x, const std::vector<Feed>& feeds) {
  Program program = compile({y, grad(sum(y), {x})[0]});
  const Results results = program.run(feeds);
  std::printf("%s\n  value    %s\n  gradient %s\n  kernels  %lld\n\n", title,
              to_string(results.tensor(0)).c_str(), to_string(results.tensor(1)).c_str(),
              static_cast<long long>(program.report().kernels));
}

int run(int argc, char** argv) {
  CLI::App app("Three ways to write an operation of your own; see docs/custom_ops.md.",
               "custom_op");
  if (const auto end = examples::parse(app, argc, argv)) return *end;

  const Expr rows = input("rows", {2, 2}, DType::f64);
  show("1. squash, a function of other operations", squash(rows), rows,
       {{rows, tensor({3.0, 4.0, 0.3, 0.4}, {2, 2})}});

  const Expr x = input("x", {3}, DType::f64), gate = input("gate", {3}, DType::f64);
  const Feed at{x, tensor({-1.0, 0.0, 1.0}, {3})}, open{gate, tensor({2.0, 2.0, -2.0}, {3})};
  show("2. swish, one formula", swish(x), x, {at});
  show("   gated, one formula of two inputs", gated(x, gate), gate, {at, open});

  custom_op::add_smooth_kernel();
  const Expr series = input("series", {4}, DType::f64);
  show("3. smooth, an op with its own kernel", custom_op::smooth(series, 0.5), series,
       {{series, tensor({8.0, 0.0, 0.0, 8.0}, {4})}});

  std::printf("Mistakes name the op and the line that uses it:\n");
  try {
    (void)custom_op::smooth(rows, 0.5);
  } catch (const Error& error) {
    std::printf("  %s\n", error.what());
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  return examples::guarded("custom_op", [&] { return run(argc, argv); });
}
