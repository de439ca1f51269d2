#pragma once
// What the type rules and the functions of several families share.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "blockgrad/graph/map.h"
#include "blockgrad/ops/axes.h"

namespace blockgrad::detail {

/// f(), whose nodes take the user's line; its Error gets op and line in front, unless it has them.
/// What a device could not do stays a DeviceError.
template <class F>
auto in_context(std::string_view op, SourceLoc where, F f) {
  const Origin origin = current_origin(where);
  const OriginScope scope(origin);
  try {
    return f();
  } catch (const DeviceError&) {
    throw;
  } catch (const Error& error) {
    const std::string context = to_string(origin, op);
    if (std::string_view(error.what()).starts_with(context)) throw;  // it came from make
    throw Error(context + ": " + error.what());
  }
}

inline std::vector<std::int64_t> sizes_of(const Shape& shape) {
  return {shape.sizes().begin(), shape.sizes().end()};
}

/// The axis counted from the front. Throws Error, which names the shape too, if it is outside.
int axis_of(const Shape& shape, int axis);

/// Counted from the front, ascending. Throws Error if one is outside [-rank, rank) or named twice.
std::vector<int> normalize_axes(const Axes& axes, int rank);

/// The dtype of a product of `operands`; see MatMul. Throws Error, which names what users call, if
/// they or `result` do not fit.
DType product_dtype(DType operands, std::optional<DType> result, std::string_view function);

/// A gradient of a product: that of an adjoint and an operand, in either order, rounded once to
/// `dtype`, the operands'.
template <class Product>
Expr product_gradient(Product product, const Expr& a, const Expr& b, DType dtype) {
  if (a.dtype() == b.dtype()) {
    if (is_half(dtype)) product.result = dtype;
    return make(product, {a, b});
  }
  const DType wide = working_dtype(dtype);
  return cast(make(product, {cast(a, wide), cast(b, wide)}), dtype);
}

}  // namespace blockgrad::detail
