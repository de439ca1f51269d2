#pragma once
// From terms to a Loss.

#include "blockgrad/ops/losses.h"

namespace blockgrad::detail {

/// The sum of the terms and their number; with weights, of the shape of the terms or of their
/// leading axes, both weighted. Terms of weight 0 add exactly 0. Throws Error if the weights do not
/// fit.
Loss averaged(const Expr& terms, const Expr& weights);

/// x in the dtype that losses are computed in.
Expr as_working(const Expr& x);
/// d * slope; 0 where nothing flows to a slope that is not finite: a sample without weight.
Scalar scaled(Scalar d, Scalar slope);

}  // namespace blockgrad::detail
