#include "blockgrad/ops/activations.h"

namespace blockgrad {

namespace {

using Scalars = std::span<const Scalar>;

Scalar silu_of(Scalar x) { return where(isinf(x), relu(x), x * sigmoid(x)); }

// An elementwise op whose slope is a Map of x alone: fused with the value it shares the function
// they have in common, and a step keeps the slope instead of x. bf16 and f16 round once, at the
// end.
template <class Curve>
struct Smooth {
  static constexpr std::string_view name = Curve::name;
  bool operator==(const Smooth&) const = default;
  TensorType infer(Types in) const {
    require(is_floating(in[0].dtype), "wants a floating dtype, got ", in[0].dtype);
    return in[0];
  }
  std::vector<Expr> vjp(const Backward& b) const {
    const Expr &x = b.input(0), &dy = b.dy();
    if (is_half(x.dtype()))
      return {map(name, {dy, x}, [](Scalars s) { return s[0] * Curve::slope(s[1]); })};
    return {dy * map(name, {x}, [](Scalars s) { return Curve::slope(s[0]); })};
  }
  Expr expand(std::span<const Expr> in) const {
    return map(name, {in[0]}, [](Scalars s) { return Curve::value(s[0]); });
  }
};

template <class Curve>
Expr smooth(const Arg& x) {
  return make(Smooth<Curve>{}, {as_expr(x, DType::f32)}, x.where());
}

// Beyond it the share of x is exactly 0 or 1, while squares may overflow.
constexpr double flat_from = 40;
Scalar near(Scalar x) { return minimum(maximum(x, -flat_from), flat_from); }

// In f64 as gelu_value and gelu_slope, of which each would make the share of x.
struct Gelu {
  static constexpr std::string_view name = "gelu";
  static Scalar value(Scalar x) {
    if (x.dtype() != DType::f64) return gelu_value(x);
    return maximum(x, -flat_from) * normal_cdf(x);
  }
  static Scalar slope(Scalar x) {
    if (x.dtype() != DType::f64) return gelu_slope(x);
    const Scalar q = near(x);
    return fma(q, exp(q * q * -0.5) * 0.39894228040143268, normal_cdf(x));
  }
};

// With s = sigmoid(2 u) and its slope s (1 - s): s + x s (1 - s) (2 u)'.
struct GeluTanh {
  static constexpr std::string_view name = "gelu_tanh";
  static constexpr double cubic = 0.071354816272600245, linear = 1.5957691216057308;
  static Scalar value(Scalar x) { return maximum(x, -flat_from) * normal_cdf_tanh(x); }
  static Scalar slope(Scalar x) {
    const Scalar s = normal_cdf_tanh(x), q = near(x);
    return s + q * (s * (1 - s)) * (q * q * (3 * cubic) + linear);
  }
};

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

Expr gelu(Arg x) { return smooth<Gelu>(x); }

Expr gelu_tanh(Arg x) { return smooth<GeluTanh>(x); }

Expr logsigmoid(Arg x) {
  return map("logsigmoid", {x}, [](Scalars s) { return -softplus(-s[0]); });
}

Expr swiglu(Arg x, Arg gate) {
  return map("swiglu", {x, gate}, [](Scalars s) { return s[0] * silu_of(s[1]); });
}

}  // namespace blockgrad
