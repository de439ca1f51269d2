// Two convolutions 5x5, each with relu and a pool by 2, and a linear layer (after LeCun et al.
// 1998): [batch, 1, size, size] -> ten classes.
#include "models/models.h"

namespace bench {

namespace bg = blockgrad;

Model lenet(const LenetSizes& sizes) {
  constexpr std::int64_t window = 5, classes = 10;
  Model model{.family = "lenet", .recipe = Recipe::sgd, .learning_rate = 0.01};
  std::int64_t channels = 1, size = sizes.image;
  bg::Expr x = add_values(model, {sizes.batch, channels, size, size}, "x");
  for (const std::int64_t outputs : sizes.channels) {
    const std::string layer = "conv" + std::to_string(outputs);
    const bg::Expr w = add_parameter(model, {outputs, channels, window, window},
                                     bg::kaiming_uniform(), layer + ".weight");
    const bg::Expr b = add_parameter(model, {outputs}, bg::constant_initial(0), layer + ".bias");
    model.work.flops += (channels == 1 ? 2 : 3) * product_flops(sizes.batch * size * size, outputs,
                                                                channels * window * window);
    x = bg::max_pool2d(bg::relu(bg::conv2d(x, w, {.padding = 2}, b)), 2);
    channels = outputs;
    size /= 2;  // [batch, outputs, size, size]
  }
  const std::int64_t features = channels * size * size;
  const bg::Expr w =
      add_parameter(model, {features, classes}, bg::kaiming_uniform(), "linear.weight");
  const bg::Expr b = add_parameter(model, {classes}, bg::constant_initial(0), "linear.bias");
  model.work.flops += 3 * product_flops(sizes.batch, classes, features);
  model.loss = bg::cross_entropy(bg::linear(bg::flatten(x), w, b),
                                 add_labels(model, {sizes.batch}, classes, "t"));
  return model;
}

}  // namespace bench
