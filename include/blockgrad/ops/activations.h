#pragma once
// Activations and other elementwise compositions. Floating dtypes, broadcasting as elsewhere.
// Errors in ulp: docs/accuracy.md. All hold at +-inf: where a product would be inf * 0, the limit
// is written out, with the slope of the limit.

#include "blockgrad/ops/elementwise.h"

namespace blockgrad {

/// x where low <= x <= high, else the bound; low > high gives high. Slope 1 inside and at the
/// bounds, 0 outside; NaN stays NaN. Numbers too: i32, i64, u8.
Expr clip(Arg x, Arg low, Arg high);
/// x where x > 0, else slope * x; at 0 the left slope (Maas et al. 2013).
Expr leaky_relu(Arg x, double slope = 0.01);
/// x where x > 0, else alpha (e^x - 1); at 0 the left slope (Clevert et al. 2016).
Expr elu(Arg x, double alpha = 1);
/// x sigmoid(x) (Elfwing et al. 2018).
Expr silu(Arg x);
/// x normal_cdf(x) = x (1 + erf(x / sqrt 2)) / 2 (Hendrycks and Gimpel 2016), also far below 0,
/// where that sum would have no digit left.
Expr gelu(Arg x);
/// The tanh form of the same paper: x normal_cdf_tanh(x) = x (1 + tanh(u)) / 2 with u = sqrt(2 /
/// pi) (x + 0.044715 x^3).
Expr gelu_tanh(Arg x);
/// log(sigmoid(x)) = -softplus(-x), without overflow; slope sigmoid(-x).
Expr logsigmoid(Arg x);
/// x silu(gate) (Shazeer 2020).
Expr swiglu(Arg x, Arg gate);

}  // namespace blockgrad
