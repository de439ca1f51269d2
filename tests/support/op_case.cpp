#include "tests/support/op_case.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace op_check {

namespace {
// Far more than a step of the differences.
constexpr double margin = 1e-4;
}  // namespace

Draw Draw::number(double low, double high) {
  Draw draw;
  draw.low = low;
  draw.high = high;
  return draw;
}

Draw Draw::index(std::int64_t below) {
  Draw draw;
  draw.kind = Kind::index;
  draw.below = below;
  draw.has_gradient = false;
  return draw;
}

Draw Draw::index_of(int input, int axis) {
  Draw draw = index(0);
  draw.of = input;
  draw.axis = axis;
  return draw;
}

Draw Draw::boolean() {
  Draw draw;
  draw.kind = Kind::boolean;
  draw.has_gradient = false;
  return draw;
}

Draw Draw::without_gradient() const {
  Draw draw = *this;
  draw.has_gradient = false;
  return draw;
}

Draw Draw::constant() const {
  Draw draw = without_gradient();
  draw.is_constant = true;
  return draw;
}

std::function<bool(std::span<const Array>)> kinks_at(std::vector<double> places) {
  return [places = std::move(places)](std::span<const Array> inputs) {
    for (const double x : inputs[0].values) {
      for (const double place : places) {
        if (std::abs(x - place) < margin) return true;
      }
    }
    return false;
  };
}

std::function<bool(std::span<const Array>)> ties_within() {
  return [](std::span<const Array> inputs) {
    std::vector<double> sorted = inputs[0].values;
    std::sort(sorted.begin(), sorted.end());
    for (std::size_t i = 1; i < sorted.size(); ++i) {
      if (sorted[i] - sorted[i - 1] < margin) return true;
    }
    return false;
  };
}

std::function<bool(std::span<const Array>)> ties_between() {
  return [](std::span<const Array> inputs) {
    const Array gaps = pointwise(inputs.first(2), [](auto v) { return std::abs(v[0] - v[1]); });
    return std::any_of(gaps.values.begin(), gaps.values.end(),
                       [](double gap) { return gap < margin; });
  };
}

}  // namespace op_check
