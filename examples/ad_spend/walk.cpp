#include "ad_spend/walk.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "blockgrad/blockgrad.h"
#include "support/number.h"
#include "support/table.h"

namespace ad_spend {

namespace {

using namespace blockgrad;
using examples::number;

constexpr double start[2] = {0.5, 0.7};
constexpr double rate = 0.01;

double difference(const Step& a, const Step& b) {
  double most = std::max(std::abs(a.prediction - b.prediction),
                         std::abs(a.next_prediction - b.next_prediction));
  for (int j = 0; j < 2; ++j) {
    most = std::max(
        {most, std::abs(a.gradient[j] - b.gradient[j]), std::abs(a.weights[j] - b.weights[j])});
  }
  return most;
}

std::string pair(const double* values) {
  std::string text = "(";
  text += number(values[0]);
  return text + ", " + number(values[1]) + ")";
}

void print_arithmetic(const Problem& problem, const Row& row, const Step& step) {
  const double x1 = row.x[0], x2 = row.x[1];
  const double error = step.prediction - row.t;
  std::printf("A first step by hand: %s = %g, %s = %g, %s = %g\n", problem.input_names[0].c_str(),
              x1, problem.input_names[1].c_str(), x2, problem.target_name.c_str(), row.t);
  std::printf("Start weights (0.5, 0.7), no bias, loss (y - t)^2, learning rate 0.01.\n\n");
  std::printf("  prediction       y  = x1 w1 + x2 w2 = %g * 0.5 + %g * 0.7 = %g\n", x1, x2,
              step.prediction);
  std::printf("  error            y - t = %g - %g = %g, loss %g\n", step.prediction, row.t, error,
              error * error);
  std::printf("  gradient         2 (y - t) x = 2 * %g * (%g, %g) = %s\n", error, x1, x2,
              pair(step.gradient).c_str());
  std::printf("  new weights      w - 0.01 * gradient = %s\n", pair(step.weights).c_str());
  std::printf("  next prediction  %g * %g + %g * %g = %g\n\n", x1, step.weights[0], x2,
              step.weights[1], step.next_prediction);
}

}  // namespace

Step step_of_scalars(const Row& row) {
  Step step;
  step.prediction = row.x[0] * start[0] + row.x[1] * start[1];
  for (int j = 0; j < 2; ++j) {
    step.gradient[j] = 2 * (step.prediction - row.t) * row.x[j];
    step.weights[j] = start[j] - rate * step.gradient[j];
  }
  step.next_prediction = row.x[0] * step.weights[0] + row.x[1] * step.weights[1];
  return step;
}

Step step_of_matrices(const Row& row) {
  const double X[1][2] = {{row.x[0], row.x[1]}};
  double W[2][1] = {{start[0]}, {start[1]}};
  double Y[1][1] = {}, dY[1][1] = {}, dW[2][1] = {}, next[1][1] = {};
  for (int k = 0; k < 2; ++k) Y[0][0] += X[0][k] * W[k][0];    // Y = X W      [1, 2] x [2, 1]
  dY[0][0] = 2 * (Y[0][0] - row.t);                            // dY = 2 (Y - T)        [1, 1]
  for (int k = 0; k < 2; ++k) dW[k][0] += X[0][k] * dY[0][0];  // dW = X^T dY  [2, 1] x [1, 1]
  for (int k = 0; k < 2; ++k) W[k][0] -= rate * dW[k][0];      // W -= rate dW          [2, 1]
  for (int k = 0; k < 2; ++k) next[0][0] += X[0][k] * W[k][0];
  return {Y[0][0], {dW[0][0], dW[1][0]}, {W[0][0], W[1][0]}, next[0][0]};
}

Step step_of_engine(const Row& row) {
  const Expr x = input("x", {1, 2}, DType::f64), t = input("t", {1, 1}, DType::f64);
  const Expr w = parameter(tensor({start[0], start[1]}, {2, 1}), "w");
  const Expr y = matmul(x, w);
  const Loss loss = mse_loss(y, t);
  Optimizer optimizer(Sgd{.learning_rate = rate});
  Program program = compile({y, grad(loss, {w})[0]}, minimize(optimizer, loss));

  const Feeds feeds{{x, tensor({row.x[0], row.x[1]}, {1, 2})}, {t, tensor({row.t}, {1, 1})}};
  Results results = program.run(feeds);
  Step step;
  step.prediction = results.number(0);
  const Tensor gradient = results.tensor(1), weights = w.value();
  for (int j = 0; j < 2; ++j) {
    step.gradient[j] = gradient.at(j);
    step.weights[j] = weights.at(j);
  }
  step.next_prediction = program.run(feeds).number(0);
  return step;
}

void print_walk(const Problem& problem, const Row& row) {
  const Step scalars = step_of_scalars(row), matrices = step_of_matrices(row),
             engine = step_of_engine(row);
  print_arithmetic(problem, row, scalars);
  examples::Table table({"three ways", "prediction", "gradient", "new weights", "next prediction"});
  const auto add = [&](const char* name, const Step& step) {
    table.add({name, number(step.prediction), pair(step.gradient), pair(step.weights),
               number(step.next_prediction)});
  };
  add("scalar steps", scalars);
  add("matrices", matrices);
  add("engine", engine);
  std::fputs(table.to_string().c_str(), stdout);
  const double most = std::max(difference(scalars, matrices), difference(scalars, engine));
  if (!(most <= 1e-12))
    throw InternalError("the three ways of the first step differ by " + number(most));
  std::printf("  They agree: the largest difference is %g.\n\n", most);
}

}  // namespace ad_spend
