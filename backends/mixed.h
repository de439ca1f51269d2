#pragma once
// The pass of mixed precision (Micikevicius et al. 2018): products read bf16 or f16, sums,
// gradients of parameters and their masters stay f32.

#include "graph/graph.h"

namespace blockgrad {

/// The graph with products (MatMul, Conv2d, Attention and their gradients) of `half`, bf16 or f16,
/// where they were of f32. It is a graph of f32 in which some values are rounded once, to r(v), and
/// stored so:
///
/// * An operand of a product is rounded, also q, k, v and dy of attention; a parameter's copy is
///   made once a step, its master stays.
/// * A Map's result that is made of a product, and that a gradient reads again, element by element,
///   behind products of gradients, is rounded: what a step keeps for the way back is halves.
/// * The result of a product is rounded where it *ends in products*: all its readers are products,
///   or Maps and joins whose results end in products too. Else it is f32, each sum as it was added.
///   Of the gradients of attention all are rounded or none.
///
/// Who reads r(v) for v: products; Maps, if v is made of a product and ends in products; Maps of
/// gradients, if v is a value of the forward pass of their size; and last sums of gradients, of
/// which nothing more of the way back is made. All others read v as it is: other reductions,
/// softmax, norms and losses, sums of residual branches, outputs and updates; and Maps and sums
/// read parameters and inputs as they are. A Map computes in f32 and rounds at its end alone. So
/// does a product, but for attention on tensor cores, whose weights and slopes of scores they read.
/// Values of other dtypes are left alone, and so is what runs as neither Map, View, product, last
/// sum nor a join of rounded parts that all who read it read rounded.
///
/// Last sums read r(v) where others make that there is one. So a bias has the gradient db = 1^T
/// r(dz) where the weight has dW = x^T r(dz), added and given in f32: |db - sum dz| <= u sum |dz|
/// beside the rounding of the sum itself, u = 2^-8 for bf16 and 2^-11 for f16, where a dz below
/// 2^-14 is off by 2^-25 at most and one beyond f16 makes db not finite. Norms read dy in
/// reductions of their own, so what they sum for gains and shifts is f32, but for a shift whose dy
/// a product reads too.
///
/// torch.autocast rounds every result of a product, and gradients of parameters too; but what exp,
/// log and pow make of one stays f32 there, and here only where no product reads it next.
Graph mixed(const Graph& graph, DType half);

}  // namespace blockgrad
