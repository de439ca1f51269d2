#include "graph/disjoint_parts.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <numeric>
#include <optional>
#include <vector>

namespace blockgrad {

namespace {

constexpr std::size_t most_parts = 1024;  // all pairs are compared

/// first, first + step, … up to last; a single number has step 0.
struct Progression {
  std::int64_t first = 0, last = 0, step = 0;
};
/// The coordinates that a part has along each axis of the whole.
using Box = std::array<Progression, max_rank>;

/// The axis that steps of so many elements follow, and only they: the one with the largest stride
/// that is not larger. -1 for none.
int axis_of(std::int64_t step, const Shape& whole, const Layout& dense) {
  for (int a = 0; a < whole.rank(); ++a) {
    const std::int64_t stride = dense.strides[static_cast<std::size_t>(a)];
    if (whole[a] > 1 && stride <= step) return step % stride == 0 ? a : -1;
  }
  return -1;
}

/// The shape with axes cut in two where parts step by less than a step of the axis before, but by
/// more than one of their own: heads of a layer side by side.
Shape refined(std::span<const Layout> parts, const Shape& whole) {
  if (whole.size() == 0) return whole;
  std::vector<std::int64_t> steps;  // of each axis, descending
  const Layout dense = Layout::dense(whole);
  for (int a = 0; a < whole.rank(); ++a) {
    if (whole[a] > 1) steps.push_back(dense.strides[static_cast<std::size_t>(a)]);
  }
  for (const Layout& part : parts) {
    for (int a = 0; a < part.shape.rank(); ++a) {
      const std::int64_t step = std::abs(part.strides[static_cast<std::size_t>(a)]);
      if (part.shape[a] <= 1 || step == 0 || steps.size() == max_rank) continue;
      const auto next = std::find_if(steps.begin(), steps.end(),
                                     [&](std::int64_t other) { return other <= step; });
      const std::int64_t above = next == steps.begin() ? whole.size() : *(next - 1);
      if (next == steps.end() || *next == step || step % *next != 0 || above % step != 0) continue;
      steps.insert(next, step);
    }
  }
  std::vector<std::int64_t> sizes;
  std::int64_t above = whole.size();
  for (const std::int64_t step : steps) {
    sizes.push_back(above / step);
    above = step;
  }
  return Shape(sizes);
}

std::optional<Box> box_of(const Layout& part, const Shape& whole, const Layout& dense) {
  Box box;
  std::int64_t rest = part.offset;
  for (int a = 0; a < whole.rank(); ++a) {
    const std::int64_t stride = dense.strides[static_cast<std::size_t>(a)];
    Progression& at = box[static_cast<std::size_t>(a)];
    at.first = at.last = rest / stride;
    rest %= stride;
  }
  for (int a = 0; a < part.shape.rank(); ++a) {
    const std::int64_t count = part.shape[a], stride = part.strides[static_cast<std::size_t>(a)];
    if (count == 1) continue;
    const int axis = axis_of(std::abs(stride), whole, dense);
    if (axis < 0 || box[static_cast<std::size_t>(axis)].step != 0) return std::nullopt;
    Progression& at = box[static_cast<std::size_t>(axis)];
    const std::int64_t step = std::abs(stride) / dense.strides[static_cast<std::size_t>(axis)];
    const std::int64_t reach = step * (count - 1);
    at.step = step;
    if (stride < 0) at.first -= reach;
    else at.last += reach;
    if (at.first < 0 || at.last >= whole[axis]) return std::nullopt;
  }
  return box;
}

bool are_apart(const Progression& a, const Progression& b) {
  if (a.last < b.first || b.last < a.first) return true;
  const std::int64_t common = std::gcd(a.step, b.step);
  return common > 0 && (a.first - b.first) % common != 0;
}

bool are_apart(const Box& a, const Box& b, int rank) {
  for (std::size_t axis = 0; axis < static_cast<std::size_t>(rank); ++axis) {
    if (are_apart(a[axis], b[axis])) return true;
  }
  return false;
}

bool are_disjoint_boxes(std::span<const Layout> parts, const Shape& whole) {
  const Layout dense = Layout::dense(whole);
  std::vector<Box> boxes;
  for (const Layout& part : parts) {
    if (part.shape.size() == 0) continue;
    const std::optional<Box> box = box_of(part, whole, dense);
    if (!box) return false;
    for (const Box& other : boxes) {
      if (are_apart(*box, other, whole.rank())) continue;
      return false;
    }
    boxes.push_back(*box);
  }
  return true;
}

}  // namespace

bool are_surely_disjoint(std::span<const Layout> parts, const Shape& whole) {
  if (parts.size() > most_parts) return false;
  return are_disjoint_boxes(parts, whole) || are_disjoint_boxes(parts, refined(parts, whole));
}

}  // namespace blockgrad
