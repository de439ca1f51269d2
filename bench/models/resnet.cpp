// A residual network for small pictures (after He et al. 2016): a convolution, then one, then three
// blocks of two, the later ones halving the picture; every convolution is 3x3 with batch norm.
// Skips drop every second pixel and get channels of zeros, so they have no weights.
#include "models/models.h"

namespace bench {

namespace bg = blockgrad;

namespace {

struct Layers {
  Model& model;
  bg::Context& context;
  int count = 0;

  // Batch norm of a convolution.
  bg::Expr operator()(const bg::Expr& x, std::int64_t outputs, std::int64_t stride) {
    const std::string layer = "conv" + std::to_string(++count);
    const std::int64_t inputs = x.shape()[1];
    const bg::Expr w =
        add_parameter(model, {outputs, inputs, 3, 3}, bg::kaiming_normal(), layer + ".weight");
    const bg::Expr y = bg::conv2d(x, w, {.stride = stride, .padding = 1});  // [B, outputs, H, W]
    const bg::Expr gain = add_parameter(model, {outputs}, bg::constant_initial(1), layer + ".gain");
    const bg::Expr shift =
        add_parameter(model, {outputs}, bg::constant_initial(0), layer + ".shift");
    const bg::BatchStats stats{bg::state(bg::zeros({outputs}), layer + ".mean"),
                               bg::state(bg::ones({outputs}), layer + ".variance")};
    const std::int64_t pixels = y.shape().size() / outputs;
    model.work.flops += (count == 1 ? 2 : 3) * product_flops(pixels, outputs, inputs * 9);
    // Batch norm reads and writes once; backward it reads x and dy for two sums, both again for dx.
    model.work.bytes += 7.0 * sizeof(float) * static_cast<double>(y.shape().size());
    return bg::batch_norm(y, gain, shift, stats, context);
  }
};

bg::Expr skip(const bg::Expr& x, std::int64_t outputs, std::int64_t stride) {
  const std::int64_t more = outputs - x.shape()[1];
  if (more == 0 && stride == 1) return x;
  const bg::Expr fewer =
      bg::slice(x, {{}, {}, {.step = stride}, {.step = stride}});  // [B, C, H / 2, W / 2]
  return bg::pad(fewer, {0, more / 2, 0, 0}, {0, more - more / 2, 0, 0});
}

}  // namespace

Model resnet(const ResnetSizes& sizes) {
  constexpr std::int64_t classes = 10;
  Model model{.family = "resnet", .recipe = Recipe::momentum, .learning_rate = 0.02};
  bg::Context context;
  Layers conv_norm{model, context};
  bg::Expr x = add_values(model, {sizes.batch, 3, sizes.image, sizes.image}, "x");
  for (int i = 0; i < 2; ++i) x = bg::relu(conv_norm(x, sizes.channels.front(), 1));
  for (const std::int64_t outputs : sizes.channels) {
    const std::int64_t stride = outputs == x.shape()[1] ? 1 : 2;
    const bg::Expr inner = bg::relu(conv_norm(x, outputs, stride));
    x = bg::relu(conv_norm(inner, outputs, 1) + skip(x, outputs, stride));
  }
  const bg::Expr w = add_parameter(model, {sizes.channels.back(), classes}, bg::kaiming_uniform(),
                                   "linear.weight");
  const bg::Expr b = add_parameter(model, {classes}, bg::constant_initial(0), "linear.bias");
  model.work.flops += 3 * product_flops(sizes.batch, classes, sizes.channels.back());
  model.loss = bg::cross_entropy(bg::linear(bg::flatten(bg::global_avg_pool(x)), w, b),
                                 add_labels(model, {sizes.batch}, classes, "t"));
  model.statistics = context.updates();
  return model;
}

}  // namespace bench
