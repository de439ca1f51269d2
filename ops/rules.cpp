#include "ops/rules.h"

#include <algorithm>

namespace blockgrad::detail {

int axis_of(const Shape& shape, int axis) {
  require(axis >= -shape.rank() && axis < shape.rank(), "axis ", axis, " is outside [",
          -shape.rank(), ", ", shape.rank(), ") for shape ", shape);
  return axis < 0 ? axis + shape.rank() : axis;
}

std::vector<int> normalize_axes(const Axes& axes, int rank) {
  std::vector<int> result;
  for (const int axis : axes.list) {
    const int at = normalize_axis(axis, rank);
    require(std::find(result.begin(), result.end(), at) == result.end(), "axis ", axis,
            " is named twice");
    result.push_back(at);
  }
  std::sort(result.begin(), result.end());
  return result;
}

DType product_dtype(DType operands, std::optional<DType> result, std::string_view function) {
  require(is_floating(operands), "wants a floating dtype, got ", operands);
  if (!is_half(operands)) {
    if (result && *result != operands)
      fail({"the product of ", operands, " is ", operands, ", not ", *result});
    return operands;
  }
  require(result.has_value(), "the product of ", operands, " wants `result`, f32 or ", operands,
          "; ", function, "() sets it");
  require(*result == DType::f32 || *result == operands, "the product of ", operands, " is f32 or ",
          operands, ", not ", *result);
  return *result;
}

}  // namespace blockgrad::detail
