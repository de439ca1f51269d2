#pragma once
// The terms that a convolution has, without the zeros around the source. Kernels multiply with
// those zeros as well, which changes at most the sign of a zero unless the other factor is infinite
// or NaN: then an element is NaN that has no such term. These loops find such elements and make
// them again.

#include <cmath>
#include <cstdint>
#include <limits>

#include "backends/cpu/conv_planes.h"

namespace blockgrad::detail {

/// Calls f(tap, place in the source) for the taps whose place lies inside, until it gives false.
template <class F>
bool each_inside(const ConvAxis& axis, std::int64_t i, F f) {
  for (std::size_t t = 0; t < axis.offsets.size(); ++t) {
    const std::int64_t at = i * axis.stride + axis.offsets[t];
    if (at >= 0 && at < axis.source && !f(t, at)) return false;
  }
  return true;
}

/// How many of the taps at element i of the result lie outside of the source.
inline std::int64_t taps_outside(const ConvAxis& axis, std::int64_t i) {
  std::int64_t inside = 0;
  each_inside(axis, i, [&](std::size_t, std::int64_t) { return ++inside > 0; });
  return static_cast<std::int64_t>(axis.offsets.size()) - inside;
}

/// Whether any tap ever lies outside: at the first or the last element then.
inline bool meets_outside(const ConvAxis& axis) {
  return axis.result > 0 && taps_outside(axis, 0) + taps_outside(axis, axis.result - 1) > 0;
}

/// Adds a term to a chain; false once the chain can only stay NaN.
template <class T>
bool add_term(T& sum, T a, T b) {
  sum = std::fma(a, b, sum);
  if (sum == sum) return true;
  sum = std::numeric_limits<T>::quiet_NaN();
  return false;
}

}  // namespace blockgrad::detail
