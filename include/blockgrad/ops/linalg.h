#pragma once
// Matrix products.

#include "blockgrad/graph/op.h"

namespace blockgrad {

/// C[.., i, j] = sum over p of A[.., i, p] * B[.., p, j], one fused multiply-add chain over
/// ascending p. Transposed operands are Views: the kernels read them in place. The cut into blocks
/// is in the program's report. Gradients: dA = dC B^T, dB = A^T dC (Giles 2008, section 2.2).
struct MatMul {
  static constexpr std::string_view name = "matmul";
  bool operator==(const MatMul&) const = default;
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  bool accepts(int input, const Layout& layout) const;
  Cost cost(Types in, Types out) const;
};

struct MatMulOptions {
  bool transpose_a = false;
  bool transpose_b = false;
};

/// [.., m, k] x [.., k, n] -> [.., m, n], floating; batch axes broadcast. A vector is a row on the
/// left and a column on the right, and its axis is dropped. k = 0 gives zeros. Throws Error if
/// inner sizes or dtypes differ.
Expr matmul(Arg a, Arg b, MatMulOptions options = {});

/// x w + b; an empty b is left out.
Expr linear(Arg x, Arg w, const Expr& b = {});

}  // namespace blockgrad
