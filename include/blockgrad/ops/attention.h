#pragma once
// Scaled dot-product attention.

#include <optional>

#include "blockgrad/graph/op.h"

namespace blockgrad {

/// With s = scale q k^T + mask: y = softmax(s) v along the keys, and lse_i = log(sum_j exp(s_ij)).
/// q [.., Tq, d], k [.., Tk, d], v [.., Tk, dv] and, if there is one, the mask [.., Tq, Tk], all
/// with the same leading axes; y [.., Tq, dv], lse [.., Tq], 0 where a query sees no key. The CPU
/// works on blocks of queries and keys and never stores s (Dao et al. 2022, algorithm 1; Milakov
/// and Gimelshein 2018). With q, k and v of bf16 or f16 all else is f32, but for y, which may be
/// rounded to their dtype. Gradients: AttentionGradient; that of a floating mask does store it.
struct Attention {
  static constexpr std::string_view name = "attention";
  bool causal = false;
  Number scale;
  std::optional<DType> result = {};  // of y; empty: f32 or f64

  bool operator==(const Attention&) const = default;
  std::vector<TensorType> infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  std::vector<Expr> expand(std::span<const Expr> in) const;
  bool accepts(int input, const Layout& layout) const;
  bool makes(int output, const Layout& layout) const;
  Cost cost(Types in, Types out) const;
  std::string print() const;
};

/// The gradients dq, dk, dv from q, k, v, dy, lse, delta and the mask, if there is one: p = exp(s -
/// lse), ds = p (dy v^T - delta), dq = scale ds k, dk = scale ds^T q, dv = p^T dy, where delta_i =
/// sum(dy_i y_i) (Dao et al. 2022, appendix B). Scores are computed again, block by block. With q,
/// k, v and dy of bf16 or f16 all else is f32, but for the results, which may be rounded to their
/// dtype.
struct AttentionGradient {
  static constexpr std::string_view name = "attention_gradient";
  bool causal = false;
  Number scale;
  std::optional<DType> result = {};  // of dq, dk and dv; empty: f32 or f64

  bool operator==(const AttentionGradient&) const = default;
  std::vector<TensorType> infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  std::vector<Expr> expand(std::span<const Expr> in) const;
  bool accepts(int input, const Layout& layout) const;
  bool makes(int output, const Layout& layout) const;
  Cost cost(Types in, Types out) const;
  std::string print() const;
};

struct AttentionOptions {
  bool causal = false;  // query i sees the keys 0 .. i
  Expr mask = {};       // broadcasts to [.., Tq, Tk]. bool: true where a key may be seen; floating:
                        // added to the scores, -inf hides a key
  std::optional<double> scale = {};  // empty: 1 / sqrt(d)
};

/// Each query's mean of the values v, weighted by softmax(scale q k^T) over the keys that it may
/// see: q [.., Tq, d], k [.., Tk, d], v [.., Tk, dv] -> [.., Tq, dv], floating; leading axes
/// broadcast. A query that sees no key gives 0 and sends no gradient. What a query may not see has
/// the weight 0, so it must be finite. bf16 and f16 are computed in f32; tensor cores read weights,
/// and slopes of scores, rounded to q's dtype, infinite above 65504 in f16. Memory grows with Tq +
/// Tk forward and backward, but for the gradient of a mask and the gradient of a gradient, which
/// store the scores. Throws Error if dtypes differ, q and k differ in their last axis, k and v in
/// number, or the mask is neither bool nor f32 nor of q's dtype. Source: Vaswani et al. 2017,
/// section 3.2.1.
Expr attention(Arg q, Arg k, Arg v, const AttentionOptions& options = {});

}  // namespace blockgrad
