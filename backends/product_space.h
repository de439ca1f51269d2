#pragma once
// Products as a device walks them: matrices whose elements the kernels make row by row.

#include <optional>

#include "blockgrad/graph/op.h"

namespace blockgrad {

/// The shape of a product's result as [.., rows, columns] in row-major order, where all before the
/// last two axes are a batch; none for other ops, and where one node is several products.
std::optional<Shape> product_space(const Op& op, Types in, Types out);

}  // namespace blockgrad
