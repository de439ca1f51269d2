// A recurrent network of one layer, its last state classified: [batch, steps, width] -> ten
// classes.
#include <cmath>

#include "models/models.h"

namespace bench {

namespace bg = blockgrad;

Model lstm(const LstmSizes& sizes) {
  constexpr std::int64_t classes = 10;
  const auto [batch, steps, width] = sizes;
  Model model{.family = "lstm", .recipe = Recipe::adam, .learning_rate = 1e-3};
  const double most = 1 / std::sqrt(static_cast<double>(width));
  const auto weights = [&](const bg::Shape& shape, const char* name) {
    return add_parameter(model, shape, bg::uniform_initial(-most, most), name);
  };
  const bg::Expr x = add_values(model, {batch, steps, width}, "x");
  const bg::Expr zero = bg::constant(bg::zeros({batch, width}));
  const bg::CellWeights cell{.input = weights({width, 4 * width}, "lstm.input"),
                             .hidden = weights({width, 4 * width}, "lstm.hidden"),
                             .bias = weights({4 * width}, "lstm.bias"),
                             .hidden_bias = weights({4 * width}, "lstm.hidden_bias")};
  const bg::Expr last = bg::lstm(x, zero, zero, cell).h;  // [batch, width]
  const bg::Expr w = weights({width, classes}, "linear.weight");
  const bg::Expr b = weights({classes}, "linear.bias");
  model.loss = bg::cross_entropy(bg::linear(last, w, b), add_labels(model, {batch}, classes, "t"));
  // x is given, so its product has one gradient; the first hidden state is.
  model.work.flops = 2 * product_flops(batch * steps, 4 * width, width) +
                     3 * product_flops(batch * (steps - 1), 4 * width, width) +
                     3 * product_flops(batch, classes, width);
  return model;
}

}  // namespace bench
