#pragma once
// Looking at values that a step left in memory: which are not finite, and in which range they lie.

#include <string>

#include "backends/kernel.h"
#include "blockgrad/graph/scalar.h"

namespace blockgrad {

/// What the elements of a floating value are like.
struct ValueRange {
  double low = 0, high = 0;  // of all that are not NaN
  std::int64_t numbers = 0;  // how many are not NaN
  std::int64_t nans = 0, infinities = 0;
  std::int64_t first = -1;  // row-major position of the first NaN or infinity
  double first_value = 0;
};
ValueRange range_of(const std::byte* memory, const Operand& operand);

/// "f32[2, 3] from -2 to 3", "f32[2, 3] from -inf to 3 with 2 NaN".
std::string to_string(const ValueRange& range, const TensorType& type);

/// "[1, 2]" of a row-major position.
std::string index_text(std::int64_t position, const Shape& shape);

/// Whether a node makes NaN (or infinities) on purpose: its formula has such a number in it.
bool has_nan_literal(const GraphNode& node);
bool has_infinite_literal(const GraphNode& node);

/// Whether a NaN or infinity in this argument always makes the result not finite too: then only the
/// result needs watching.
bool carries(ScalarOp op, int argument);
/// Whether a kernel's results show every NaN or infinity of input n.
bool carries(const GraphNode& node, std::size_t n, const Operand& input, std::int64_t source_size);

}  // namespace blockgrad
