#pragma once
// The last two axes of the operands of a MatMul as a Gemm takes them.

#include "backends/cpu/gemm.h"
#include "graph/plan.h"

namespace blockgrad {

inline GemmShape matrix_shape(const Operand& left, const Operand& right) {
  const Layout &a = left.layout, &b = right.layout;
  const int rank = a.shape.rank();
  const auto row = static_cast<std::size_t>(rank - 2);
  GemmShape shape;
  shape.m = a.shape[rank - 2];
  shape.k = a.shape[rank - 1];
  shape.n = b.shape[b.shape.rank() - 1];
  shape.type = left.dtype == DType::f32 ? GemmType::f32 : GemmType::f64;
  shape.a_row = a.strides[row];
  shape.a_col = a.strides[row + 1];
  shape.b_row = b.strides[row];
  shape.b_col = b.strides[row + 1];
  return shape;
}

}  // namespace blockgrad
