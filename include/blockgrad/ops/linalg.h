#pragma once
// Products of vectors, matrices and tensors.

#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>

#include "blockgrad/graph/op.h"

namespace blockgrad {

/// C[.., i, j] = sum over p of A[.., i, p] * B[.., p, j], one fused multiply-add chain over
/// ascending p. Transposed operands are Views: the kernels read them in place. The cut into blocks
/// is in the program's report. Gradients: dA = dC B^T, dB = A^T dC (Giles 2008, section 2.2).
///
/// bf16 and f16 operands are exact in f32: they are multiplied and added there, and each sum is
/// rounded once to `result`, which is f32 or their own dtype and must be given for them alone. On
/// CUDA their order of sums is that of its tensor cores. A gradient has its operand's dtype.
struct MatMul {
  static constexpr std::string_view name = "matmul";
  std::optional<DType> result = {};  // empty: f32 or f64, as the operands
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

/// Sum of a * b along `axis`, which must have one size in both; other axes broadcast. Size 0: 0.
Expr vecdot(Arg a, Arg b, int axis = -1);
/// y_ij = a_i b_j for two vectors.
Expr outer(Arg a, Arg b);
/// Sum of products over the last `axes` axes of a and the first ones of b, in their order; the
/// result has the other axes of a, then those of b. 0 axes: all pairs of elements.
Expr tensordot(Arg a, Arg b, int axes = 2);
/// The same over axis a_axes[i] of a and b_axes[i] of b.
Expr tensordot(Arg a, Arg b, std::span<const int> a_axes, std::span<const int> b_axes);
Expr tensordot(Arg a, Arg b, std::initializer_list<int> a_axes, std::initializer_list<int> b_axes);

/// Einstein's summation, as in NumPy: `einsum("bij,bkj->bik", {a, b})` names the axes of each
/// operand by letters and sums products over letters that the result does not have. Without "->"
/// the result has the letters that occur once, in alphabetical order. Two operands at a time are
/// brought to matmul, from left to right. Floating. Throws Error for "...", for a letter repeated
/// within one operand, for sizes that differ (1 does not broadcast), and with the position for what
/// it cannot read.
Expr einsum(std::string_view subscripts, std::span<const Expr> operands,
            SourceLoc where = SourceLoc::here());
Expr einsum(std::string_view subscripts, std::initializer_list<Expr> operands,
            SourceLoc where = SourceLoc::here());

}  // namespace blockgrad
