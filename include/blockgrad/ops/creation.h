#pragma once
// Values without inputs, made where they are read: a constant scalar seen at every position.

#include "blockgrad/graph/expr.h"

namespace blockgrad {

/// `value`, converted as by astype, at every position of `shape`.
Expr filled(const Shape& shape, double value, DType dtype = DType::f32,
            SourceLoc where = SourceLoc::here());
/// `value`, 0 or 1 with the shape and dtype of x. No gradient flows to x.
Expr full_like(Arg x, double value);
Expr zeros_like(Arg x);
Expr ones_like(Arg x);

}  // namespace blockgrad
