#pragma once
// What a function written with other ops does about the user's line: its nodes carry it, and its
// errors begin with it.

#include <string_view>

#include "blockgrad/graph/shape.h"

namespace blockgrad {

/// The axis counted from the front. Throws Error that names the shape too.
inline int axis_of(const Shape& shape, int axis) {
  require(axis >= -shape.rank() && axis < shape.rank(), "axis ", axis, " is outside [",
          -shape.rank(), ", ", shape.rank(), ") for shape ", shape);
  return axis < 0 ? axis + shape.rank() : axis;
}

/// f(), whose nodes have the origin of the call at `where`; its Errors get "op (file:line): " in
/// front unless they have it already.
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
    if (std::string_view(error.what()).starts_with(context)) throw;
    throw Error(context + ": " + error.what());
  }
}

}  // namespace blockgrad
