// A transformer that predicts the next token (Radford et al. 2019): layers of causal attention and
// a widened layer with gelu, layer norm before each, the table of tokens also last.
#include "models/models.h"

namespace bench {

namespace bg = blockgrad;

namespace {

struct Layers {
  Model& model;
  const GptSizes& sizes;

  bg::Expr norm(const bg::Expr& x, const std::string& name) {
    const bg::Expr gain =
        add_parameter(model, {sizes.width}, bg::constant_initial(1), name + ".gain");
    const bg::Expr shift =
        add_parameter(model, {sizes.width}, bg::constant_initial(0), name + ".shift");
    return bg::layer_norm(x, gain, shift);
  }
  bg::Expr linear(const bg::Expr& x, std::int64_t outputs, const std::string& name) {
    const std::int64_t inputs = x.shape()[x.rank() - 1];
    const bg::Expr w =
        add_parameter(model, {inputs, outputs}, bg::normal_initial(0, 0.02), name + ".weight");
    const bg::Expr b = add_parameter(model, {outputs}, bg::constant_initial(0), name + ".bias");
    model.work.flops += 3 * product_flops(sizes.batch * sizes.context, outputs, inputs);
    return bg::linear(x, w, b);
  }
  bg::Expr attention(const bg::Expr& x, const std::string& name) {
    const std::int64_t size = sizes.width / sizes.heads;
    const std::vector<int> heads_first{0, 2, 1, 3};
    std::vector<bg::Expr> parts = bg::split(linear(x, 3 * sizes.width, name + ".qkv"), 3, -1);
    for (bg::Expr& part : parts) {
      part = bg::reshape(part, {sizes.batch, sizes.context, sizes.heads, size});
      part = bg::permute_dims(part, heads_first);  // [B, heads, T, size]
    }
    const bg::Expr y = bg::attention(parts[0], parts[1], parts[2], {.causal = true});
    // Two products forward and four back, of which half the scores are seen.
    model.work.flops +=
        6 * product_flops(sizes.batch * sizes.context, sizes.width, sizes.context + 1) / 2;
    const bg::Expr joined =
        bg::reshape(bg::permute_dims(y, heads_first), {sizes.batch, sizes.context, sizes.width});
    return linear(joined, sizes.width, name + ".projection");
  }
};

}  // namespace

Model gpt(const GptSizes& sizes) {
  Model model{.family = "gpt",
              .sizes = {{"heads", sizes.heads}},
              .recipe = Recipe::adamw,
              .learning_rate = 1e-3};
  Layers layers{model, sizes};
  const bg::Shape batch{sizes.batch, sizes.context};
  const bg::Expr ids = add_labels(model, batch, sizes.vocabulary, "x");
  const bg::Expr tokens =
      add_parameter(model, {sizes.vocabulary, sizes.width}, bg::normal_initial(0, 0.02), "tokens");
  const bg::Expr positions =
      add_parameter(model, {sizes.context, sizes.width}, bg::normal_initial(0, 0.02), "positions");
  bg::Expr x = bg::embedding(tokens, ids) + positions;  // [B, T, width]
  for (std::int64_t i = 0; i < sizes.layers; ++i) {
    const std::string name = "block" + std::to_string(i);
    x = x + layers.attention(layers.norm(x, name + ".norm1"), name);
    const bg::Expr wide =
        layers.linear(layers.norm(x, name + ".norm2"), 4 * sizes.width, name + ".wide");
    x = x + layers.linear(bg::gelu(wide), sizes.width, name + ".narrow");
  }
  const bg::Expr logits =
      bg::matmul(layers.norm(x, "norm"), tokens, {.transpose_b = true});  // [B, T, vocabulary]
  model.work.flops += 3 * product_flops(sizes.batch * sizes.context, sizes.vocabulary, sizes.width);
  // The targets are the tokens that follow, so they are drawn like them.
  model.loss = bg::cross_entropy(logits, add_labels(model, batch, sizes.vocabulary, "t"));
  return model;
}

}  // namespace bench
