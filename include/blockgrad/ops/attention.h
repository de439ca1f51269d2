#pragma once
// Scaled dot-product attention.

#include <optional>

#include "blockgrad/graph/op.h"

namespace blockgrad {

/// y = p v with p = softmax(scale q k^T + mask) along the keys; q [.., Tq, d], k [.., Tk, d], v
/// [.., Tk, dv] and, if there is one, the mask [.., Tq, Tk], all with the same leading axes.
/// Gradients, with dp = dy v^T and ds = p (dp - sum(dy y)): dq = scale ds k, dk = scale ds^T q, dv
/// = p^T dy, dmask = ds (Dao et al. 2022, appendix B).
struct Attention {
  static constexpr std::string_view name = "attention";
  bool causal = false;
  Number scale;

  bool operator==(const Attention&) const = default;
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  Expr expand(std::span<const Expr> in) const;
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
/// broadcast. A query that sees no key gives 0 and sends no gradient. bf16 and f16 are computed in
/// f32. Source: Vaswani et al. 2017, section 3.2.1.
Expr attention(Arg q, Arg k, Arg v, const AttentionOptions& options = {});

}  // namespace blockgrad
