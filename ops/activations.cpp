#include "blockgrad/ops/activations.h"

namespace blockgrad {

namespace {

using Scalars = std::span<const Scalar>;

// Beyond it erf and the sigmoid of gelu are exactly +-1, 0 or 1, while cubes and squares may
// overflow.
constexpr double flat_from = 30;

Scalar silu_of(Scalar x) { return where(isinf(x), relu(x), x * sigmoid(x)); }

}  // namespace

Expr clip(Arg x, Arg low, Arg high) {
  return map("clip", {x, low, high}, [](Scalars s) {
    const Scalar least = where(s[1] > s[2], s[2], s[1]);
    return where(s[0] > s[2], s[2], where(s[0] < least, least, s[0]));
  });
}

Expr leaky_relu(Arg x, double slope) {
  if (slope == 0) return relu(x);  // -inf * 0 would be NaN
  return map("leaky_relu", {x}, [slope](Scalars s) { return where(s[0] > 0, s[0], s[0] * slope); });
}

Expr elu(Arg x, double alpha) {
  return map("elu", {x}, [alpha](Scalars s) { return where(s[0] > 0, s[0], expm1(s[0]) * alpha); });
}

Expr silu(Arg x) {
  return map("silu", {x}, [](Scalars s) { return silu_of(s[0]); });
}

Expr gelu(Arg x) {
  return map("gelu", {x}, [](Scalars s) {
    const Scalar inside = s[0] * 0.5 * (erf(s[0] * 0.70710678118654752) + 1);
    return where(abs(s[0]) > flat_from, relu(s[0]), inside);
  });
}

Expr gelu_tanh(Arg x) {
  return map("gelu_tanh", {x}, [](Scalars s) {
    const Scalar twice_u = s[0] * (s[0] * s[0] * 0.071354816272600245 + 1.5957691216057308);
    return where(abs(s[0]) > flat_from, relu(s[0]), s[0] * sigmoid(twice_u));
  });
}

Expr logsigmoid(Arg x) {
  return map("logsigmoid", {x}, [](Scalars s) { return -softplus(-s[0]); });
}

Expr swiglu(Arg x, Arg gate) {
  return map("swiglu", {x, gate}, [](Scalars s) { return s[0] * silu_of(s[1]); });
}

}  // namespace blockgrad
