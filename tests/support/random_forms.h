#pragma once
// Forms: the kinds of steps that random graphs are made of. Each is a row: how to choose inputs
// that fit, the value as plain loops, and the call that users write.

#include <cstdint>
#include <functional>
#include <random>
#include <span>
#include <vector>

#include "tests/support/random_graph.h"

namespace random_graph {

/// A recipe that grows, with the values of its steps.
class Maker {
 public:
  explicit Maker(std::uint64_t seed) : random_(seed) {}

  std::int64_t below(std::int64_t n) {
    return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(n));
  }
  bool chance(int percent) { return below(100) < percent; }
  double number(double low, double high) {
    return low + (high - low) * double(random_() >> 11) * 0x1p-53;
  }

  const Array& value(int step) const { return values_[static_cast<std::size_t>(step)]; }
  const Shape& shape(int step) const { return value(step).shape; }
  int count() const { return static_cast<int>(values_.size()); }

  /// A random step, late ones more often; -1 if none of 20 satisfies `fits`.
  int pick(const std::function<bool(int)>& fits);
  int any() {
    return pick([](int) { return true; });
  }
  /// A new leaf, or now and then an old step of that shape.
  int of_shape(const Shape& shape);
  int leaf(const Shape& shape);
  Shape small_shape();

  /// Appends the step if its value is finite and not large.
  bool append(Step step);
  Recipe recipe;

 private:
  std::mt19937_64 random_;
  std::vector<Array> values_;
};

struct Form {
  const char* name;
  int weight;  // how often it is tried
  /// Fills inputs, numbers and shape; false if it found nothing that fits.
  bool (*propose)(Maker& maker, Step& step);
  Array (*value)(const Step& step, std::span<const Array> inputs);
  Expr (*build)(const Step& step, std::span<const Expr> inputs);
  /// What users call it, where that is not `name`.
  const char* (*title)(const Step& step) = nullptr;
};

std::span<const Form> map_forms();
std::span<const Form> view_forms();
std::span<const Form> line_forms();

}  // namespace random_graph
