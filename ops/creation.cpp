#include "blockgrad/ops/creation.h"

#include "blockgrad/graph/view.h"

namespace blockgrad {

Expr filled(const Shape& shape, double value, DType dtype, SourceLoc where) {
  return broadcast_to(constant(full({}, value, dtype), where), shape, where);
}

Expr full_like(Arg x, double value) {
  const Expr e = as_expr(x, DType::f32);
  return filled(e.shape(), value, e.dtype(), x.where());
}
Expr zeros_like(Arg x) { return full_like(x, 0); }
Expr ones_like(Arg x) { return full_like(x, 1); }

}  // namespace blockgrad
