#include "tests/accuracy/functions.h"

#include <cmath>

namespace accuracy {

namespace {

namespace bg = blockgrad;

template <class T>
T sigmoid(T x) {
  return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x));
}
template <class T>
T softplus(T x) {
  return (x < 0 ? T(0) : x) + std::log1p(std::exp(-std::fabs(x)));
}
template <class T>
T normal_cdf(T x) {
  return std::erfc(x * T(-0.707106781186547524400844362104849039L)) / 2;
}
template <class T>
T gelu(T x) {
  if (std::isinf(x)) return x < 0 ? T(0) : x;
  return x * normal_cdf(x);
}
// 0.5 (1 + tanh(u)) = sigmoid(2 u).
template <class T>
T normal_cdf_tanh(T x) {
  if (std::isinf(x)) return x < 0 ? T(0) : T(1);
  return sigmoid(2 * T(0.797884560802865355879892119868763737L) * (x + T(0.044715L) * x * x * x));
}
template <class T>
T gelu_tanh(T x) {
  if (std::isinf(x)) return x < 0 ? T(0) : x;
  return x * normal_cdf_tanh(x);
}
template <class T>
T silu(T x) {
  if (std::isinf(x)) return x < 0 ? T(0) : x;
  return x * sigmoid(x);
}

#define BG_ROW(name, reference, ...)                         \
  {#name, [](bg::Arg x) -> bg::Expr { return bg::name(x); }, \
   [](double x) -> double { return reference; },             \
   [](long double x) -> long double { return reference; }, __VA_ARGS__}

const Function rows[] = {
    BG_ROW(exp, std::exp(x), 1, 1),          BG_ROW(expm1, std::expm1(x), 2, 2),
    BG_ROW(log, std::log(x), 1.5, 1.5),      BG_ROW(log1p, std::log1p(x), 2, 2),
    BG_ROW(sqrt, std::sqrt(x), 0.5, 0.5),    BG_ROW(rsqrt, 1 / std::sqrt(x), 1.5, 1.5),
    BG_ROW(reciprocal, 1 / x, 0.5, 0.5),     BG_ROW(sin, std::sin(x), 2, 2),
    BG_ROW(cos, std::cos(x), 2, 2),          BG_ROW(tanh, std::tanh(x), 2, 3),
    BG_ROW(erf, std::erf(x), 2, 2),          BG_ROW(sigmoid, sigmoid(x), 3, 3),
    BG_ROW(softplus, softplus(x), 3, 3),     BG_ROW(logsigmoid, -softplus(-x), 3, 3),
    BG_ROW(normal_cdf, normal_cdf(x), 3, 3), BG_ROW(normal_cdf_tanh, normal_cdf_tanh(x), 3, 3),
    BG_ROW(gelu, gelu(x), 4, 4, 0, 10),      BG_ROW(gelu_tanh, gelu_tanh(x), 3.5, 3.5, 8, 10),
    BG_ROW(silu, silu(x), 3.5, 3.5, 8, 10),
};

#undef BG_ROW

}  // namespace

std::span<const Function> functions() { return rows; }

}  // namespace accuracy
