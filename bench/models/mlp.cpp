// Layers of x w + b with relu between them, and cross-entropy of classes: [batch, widths[0]].
#include "models/models.h"

namespace bench {

namespace bg = blockgrad;

Model mlp(const MlpSizes& sizes) {
  Model model{.family = "mlp", .recipe = sizes.recipe, .learning_rate = sizes.learning_rate};
  bg::Expr x = add_values(model, {sizes.batch, sizes.widths.front()}, "x");
  for (std::size_t i = 1; i < sizes.widths.size(); ++i) {
    const std::int64_t inputs = sizes.widths[i - 1], outputs = sizes.widths[i];
    const std::string layer = "layer" + std::to_string(i);
    const bg::Expr w =
        add_parameter(model, {inputs, outputs}, bg::kaiming_uniform(), layer + ".weight");
    const bg::Expr b = add_parameter(model, {outputs}, bg::constant_initial(0), layer + ".bias");
    x = bg::linear(i == 1 ? x : bg::relu(x), w, b);  // [batch, outputs]
    model.work.flops += (i == 1 ? 2 : 3) * product_flops(sizes.batch, outputs, inputs);
  }
  model.loss = bg::cross_entropy(x, add_labels(model, {sizes.batch}, sizes.widths.back(), "t"));
  return model;
}

}  // namespace bench
