#pragma once
// The axes that an op works on, as users write them: sum(x, 0), sum(x, {0, -1}), sum(x).

#include <initializer_list>
#include <vector>

namespace blockgrad {

/// Negative axes count from the end; what an empty list means stands at the op, mostly all axes.
struct Axes {
  std::vector<int> list;
  Axes() = default;
  Axes(int axis) : list{axis} {}
  Axes(std::initializer_list<int> axes) : list(axes) {}
};

}  // namespace blockgrad
