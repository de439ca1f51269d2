#pragma once
// Products as a family: the ops that multiply operands and add up, in a dtype of their choice.

#include <optional>

#include "backends/backend.h"
#include "blockgrad/graph/map.h"
#include "graph/graph.h"

namespace blockgrad {

/// MatMul, Conv2d, Conv2dInput or Conv2dWeight, whose operands are two, or Attention or
/// AttentionGradient.
bool is_product(const Op& op);
/// How many of a product's first inputs are its operands, which have one dtype.
std::size_t operand_count(const Op& product);
/// And how many of its first results have the dtype of with_result().
std::size_t result_count(const Op& product);
/// The product with this dtype of its results; see MatMul::result and Attention::result.
Op with_result(const Op& product, std::optional<DType> result);

/// A Map that only converts.
Map astype_map(DType from, DType to);
/// The value of the new graph in this dtype: itself, or a Map behind it.
Value astype(Rewrite& rewrite, Value v, DType dtype, const Origin& origin);
/// The results of old node `old_node` are from now on those of new node `made`.
void rename_results(Rewrite& rewrite, std::int32_t old_node, std::int32_t made);

/// The graph with products and Reduces of bf16 and f16 that `backend` has no kernels for in f32:
/// Maps around each of them widen its operands, just before it is computed, and round a product's
/// results; nodes in a row share what they widen. Equal bits.
Graph widen_products(const Graph& graph, const Backend& backend);

}  // namespace blockgrad
