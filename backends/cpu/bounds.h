#pragma once
// Bounds: intervals in which a scalar program's values lie if its inputs lie in theirs. An update
// whose bounds stay finite cannot make a NaN or an infinity, so it need not be tried.

#include <limits>
#include <span>
#include <vector>

#include "blockgrad/graph/scalar.h"

namespace blockgrad {

struct Bounds {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();

  bool are_finite() const {
    return low > -std::numeric_limits<double>::infinity() &&
           high < std::numeric_limits<double>::infinity();
  }
};

/// Fills `values` with the bounds of every instruction, rounding counted, and answers whether they
/// are all finite; false too where an instruction is not known here.
bool find_bounds(const ScalarFn& fn, std::span<const Bounds> inputs, std::vector<Bounds>& values);

}  // namespace blockgrad
