#pragma once
// Training steps of the usual models, in sizes of the test's choice: who measures a program needs
// something like those that users run.

#include <cmath>
#include <string>
#include <vector>

#include "blockgrad/blockgrad.h"

namespace models {

using namespace blockgrad;

inline Expr weight(const std::string& name, const Shape& shape) {
  return parameter(shape, xavier_uniform(), name);
}
inline Expr bias(const std::string& name, std::int64_t size, double value = 0) {
  return parameter(full({size}, value), name);
}

/// A loss and what feeds it.
struct Task {
  Loss loss;
  Feeds feeds;
};

/// x [batch, in] -> layers of `width` -> classes.
inline Task mlp(std::int64_t batch, std::int64_t in, const std::vector<std::int64_t>& widths) {
  const Expr x = input("x", {batch, in}), t = input("t", {batch}, DType::i32);
  Expr y = x;
  for (std::size_t l = 0; l < widths.size(); ++l) {
    const std::string name = "fc" + std::to_string(l);
    const Scope scope(name);
    y = linear(y, weight(name + ".w", {y.shape()[1], widths[l]}), bias(name + ".b", widths[l]));
    if (l + 1 < widths.size()) y = relu(y);
  }
  return {cross_entropy(y, t),
          {{x, normal_tensor({batch, in}, 0, 1, Draw{1})}, {t, zeros({batch}, DType::i32)}}};
}

/// Two convolutions with pools, then a layer of classes: images [batch, 1, size, size].
inline Task conv_net(std::int64_t batch, std::int64_t size, std::int64_t channels) {
  const Expr x = input("x", {batch, 1, size, size}), t = input("t", {batch}, DType::i32);
  const auto stage = [](const Expr& in, const std::string& name, std::int64_t out) {
    const Scope scope(name);
    const Expr w = weight(name + ".w", {out, in.shape()[1], 3, 3});
    return max_pool2d(relu(conv2d(in, w, {.padding = {1, 1}}, bias(name + ".b", out))), {2, 2});
  };
  const Expr y = flatten(stage(stage(x, "conv0", channels), "conv1", 2 * channels));
  return {
      cross_entropy(linear(y, weight("fc.w", {y.shape()[1], 10}), bias("fc.b", 10)), t),
      {{x, normal_tensor({batch, 1, size, size}, 0, 1, Draw{1})}, {t, zeros({batch}, DType::i32)}}};
}

struct GptSizes {
  std::int64_t layers = 4, width = 128, heads = 4, length = 64, batch = 12, vocabulary = 65;
  double dropout = 0;
};

/// Decoder blocks with the norm in front, each with attention and a layer of four times the width.
inline Task gpt(const GptSizes& s, Context& context) {
  const Expr ids = input("ids", {s.batch, s.length}, DType::i32);
  const Expr next = input("next", {s.batch, s.length}, DType::i32);
  const auto norm = [&](const Expr& x, const std::string& name) {
    return layer_norm(x, bias(name + ".gain", s.width, 1), bias(name + ".shift", s.width));
  };
  const auto layer = [&](const Expr& x, const std::string& name, std::int64_t out) {
    return linear(x, weight(name + ".w", {x.shape()[2], out}), bias(name + ".b", out));
  };
  const std::vector<int> order{0, 2, 1, 3};
  const auto split_heads = [&](const Expr& x) {
    return permute_dims(reshape(x, {s.batch, s.length, s.heads, s.width / s.heads}), order);
  };
  const Expr tokens = weight("tokens", {s.vocabulary, s.width});
  Expr x = embedding(tokens, ids) + weight("positions", {s.length, s.width});
  for (std::int64_t l = 0; l < s.layers; ++l) {
    const std::string name = "block" + std::to_string(l);
    const Scope scope(name);
    const std::vector<Expr> qkv =
        split(layer(norm(x, name + ".norm0"), name + ".qkv", 3 * s.width), 3, -1);
    const Expr y =
        attention(split_heads(qkv[0]), split_heads(qkv[1]), split_heads(qkv[2]), {.causal = true});
    const Expr joined = reshape(permute_dims(y, order), {s.batch, s.length, s.width});
    x = x + dropout(layer(joined, name + ".join", s.width), s.dropout, context);
    const Expr wide = gelu(layer(norm(x, name + ".norm1"), name + ".wide", 4 * s.width));
    x = x + dropout(layer(wide, name + ".narrow", s.width), s.dropout, context);
  }
  const Expr logits = matmul(norm(x, "norm"), tokens, {.transpose_b = true});
  std::vector<std::int32_t> text;
  for (std::int64_t i = 0; i <= s.batch * s.length; ++i)
    text.push_back(static_cast<std::int32_t>((i * i + 3 * i) % s.vocabulary));
  const std::span<const std::int32_t> all(text);
  return {cross_entropy(logits, next),
          {{ids, tensor(all.first(all.size() - 1), {s.batch, s.length})},
           {next, tensor(all.last(all.size() - 1), {s.batch, s.length})}}};
}

}  // namespace models
