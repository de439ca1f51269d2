// Linear regression on two features by the mean of squares: [rows, 2] -> [rows, 1].
#include "models/models.h"

namespace bench {

namespace bg = blockgrad;

Model regression(const RegressionSizes& sizes) {
  Model model{.family = "regression", .recipe = Recipe::sgd, .learning_rate = 0.1};
  const bg::Expr x = add_values(model, {sizes.batch, 2}, "x");
  const bg::Expr t = add_values(model, {sizes.batch, 1}, "t");
  const bg::Expr w = add_parameter(model, {2, 1}, bg::normal_initial(0, 1), "w");
  const bg::Expr b = add_parameter(model, {1}, bg::constant_initial(0), "b");
  model.loss = bg::mse_loss(bg::linear(x, w, b), t);
  model.work.flops = 2 * product_flops(sizes.batch, 1, 2);
  return model;
}

}  // namespace bench
