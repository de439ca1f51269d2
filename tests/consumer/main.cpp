// A user's program that sees only what is installed: trains a regression with an elementwise
// function of its own.
#include <blockgrad/blockgrad.h>

#include <cmath>
#include <cstdio>

namespace bg = blockgrad;

int main() {
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
  return std::abs(learned.at(0) - 2.5) < 1e-3 && std::abs(learned.at(1) - 3.0) < 1e-3 ? 0 : 1;
}
