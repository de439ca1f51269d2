#include "digits_mlp/model.h"

#include <cmath>

#include "blockgrad/blockgrad.h"
#include "support/random.h"

namespace digits_mlp {

using namespace blockgrad;

namespace {

constexpr std::int64_t classes = 10;

Expr weights(std::int64_t inputs, std::int64_t outputs, std::uint64_t seed, std::uint64_t stream,
             const char* name) {
  const double most = std::sqrt(6.0 / static_cast<double>(inputs));
  return parameter(examples::Random(seed, stream).uniform({inputs, outputs}, -most, most), name);
}

}  // namespace

Mlp::Mlp(std::int64_t pixels, std::int64_t hidden, std::uint64_t seed)
    : weights1_(weights(pixels, hidden, seed, 11, "hidden.weights")),
      bias1_(parameter(zeros({hidden}), "hidden.bias")),
      weights2_(weights(hidden, classes, seed, 12, "logits.weights")),
      bias2_(parameter(zeros({classes}), "logits.bias")) {}

Expr Mlp::logits(const Expr& images) const {
  const Expr pixels = astype(flatten(images), DType::f32) / 255;  // [n, 784]
  const Expr hidden = relu(linear(pixels, weights1_, bias1_));    // [n, hidden]
  return linear(hidden, weights2_, bias2_);                       // [n, 10]
}

train::Outcome Mlp::operator()(train::Inputs& in) const {
  const Expr guesses = logits(in["image"]);
  return {cross_entropy(guesses, in["label"]), {{"accuracy", accuracy(guesses, in["label"])}}};
}

std::vector<Expr> Mlp::parameters() const { return {weights1_, bias1_, weights2_, bias2_}; }

}  // namespace digits_mlp
