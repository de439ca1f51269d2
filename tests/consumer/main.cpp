// A user's program that sees only what is installed: trains a regression with an elementwise
// function of its own, differentiates a composition, and an op with a kernel of its own that lies
// in a static library.
#include <blockgrad/blockgrad.h>

#include <cmath>
#include <cstdio>

#include "smooth.h"

namespace bg = blockgrad;

namespace {

bool trains_with_a_formula() {
  const bg::Tensor x = bg::tensor({2.F, 5.F, 1.F, 3.F, 4.F, 2.F, 3.F, 4.F, 5.F, 1.F}, {5, 2});
  const bg::Tensor t = bg::tensor({10.F, 5.75F, 8.F, 9.75F, 7.75F}, {5, 1});
  const bg::data::Dataset rows{{"spend", x}, {"conversions", t}};

  const bg::Expr w = bg::parameter(bg::zeros({2, 1}), "w");
  const auto half = bg::elementwise([](auto y) { return 0.5 * y; });
  const auto model = [&](bg::train::Inputs& in) {
    return bg::mse_loss(half(bg::matmul(in["spend"], w)), in["conversions"]);
  };
  bg::train::fit(model, rows, bg::Sgd{.learning_rate = 0.1}, {.epochs = 400, .batch_size = 0});

  const bg::Tensor learned = w.value();
  std::printf("blockgrad %s learned %.4f and %.4f\n", bg::version.data(), learned.at(0),
              learned.at(1));
  return std::abs(learned.at(0) - 2.5) < 1e-3 && std::abs(learned.at(1) - 3.0) < 1e-3;
}

bg::Expr squash(bg::Arg x) { return x / (1 + bg::abs(x)); }

bool differentiates_a_composition() {
  const bg::Expr x = bg::input("x", {2});
  const bg::Expr slope = bg::grad(bg::sum(squash(x)), {x})[0];
  const bg::Tensor at = bg::evaluate(slope, {{x, bg::tensor({1.F, -3.F}, {2})}});
  std::printf("squash has the slopes %g and %g\n", at.at(0), at.at(1));
  return at.at(0) == 0.25 && at.at(1) == 0.0625;
}

// y = (0.5 x_0, 0.25 x_0 + 0.5 x_1), so the sum of y has the gradient (0.75, 0.5).
bool differentiates_an_op_with_a_kernel() {
  add_smooth_kernel();
  const bg::Expr x = bg::input("x", {2});
  const bg::Expr y = smooth(x, 0.5);
  bg::Program program = bg::compile({y, bg::grad(bg::sum(y), {x})[0]});
  const bg::Results results = program.run({{x, bg::tensor({4.F, 8.F}, {2})}});
  const bg::Tensor value = results.tensor(0), slope = results.tensor(1);
  std::printf("smooth gives %g and %g, with slopes %g and %g\n", value.at(0), value.at(1),
              slope.at(0), slope.at(1));
  return value.at(0) == 2 && value.at(1) == 5 && slope.at(0) == 0.75 && slope.at(1) == 0.5;
}

}  // namespace

int main() {
  const bool formula = trains_with_a_formula(), kernel = differentiates_an_op_with_a_kernel(),
             composition = differentiates_a_composition();
  return formula && kernel && composition ? 0 : 1;
}
