#pragma once
// Shapes, strided layouts, and arithmetic on sizes that cannot overflow.

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "blockgrad/graph/error.h"

namespace blockgrad {

inline constexpr int max_rank = 8;

/// a * b and a + b of sizes; throw Error when the result does not fit 64 bits.
std::int64_t checked_multiply(std::int64_t a, std::int64_t b);
std::int64_t checked_add(std::int64_t a, std::int64_t b);

/// Up to eight sizes, outermost first; rank 0 is a scalar. Allocates nothing.
/// Throws Error for a negative size, more than max_rank axes, or more than 2^63 - 1 elements.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> sizes)
      : Shape(std::span(sizes.begin(), sizes.size())) {}
  explicit Shape(std::span<const std::int64_t> sizes);

  int rank() const { return rank_; }
  std::int64_t size() const { return size_; }  // number of elements
  std::int64_t operator[](int axis) const { return sizes_[static_cast<std::size_t>(axis)]; }
  std::span<const std::int64_t> sizes() const {
    return {sizes_.data(), static_cast<std::size_t>(rank_)};
  }
  bool operator==(const Shape&) const = default;

 private:
  std::array<std::int64_t, max_rank> sizes_{};
  std::int64_t size_ = 1;
  int rank_ = 0;
};

/// "[32, 784]", "[]" for a scalar.
std::string to_string(const Shape& shape);

/// The axis counted from the front. Throws Error if it is outside [-rank, rank).
int normalize_axis(int axis, int rank);

/// NumPy broadcasting of two shapes. Throws Error with both shapes if they do not fit.
Shape broadcast(const Shape& a, const Shape& b);

/// Where element (i0, i1, …) of a value lies in dense memory: offset + sum of i_a * strides[a],
/// in elements. Stride 0 repeats a value along an axis.
struct Layout {
  Shape shape;
  std::array<std::int64_t, max_rank> strides{};
  std::int64_t offset = 0;

  static Layout dense(const Shape& shape);
  bool is_dense()
      const;  // row-major without gaps, offset 0; strides of axes of size 1 do not count
  bool operator==(const Layout&) const = default;
};

/// "[3, 4] strides [0, 1] offset 0".
std::string to_string(const Layout& layout);

/// The layout `outer` applied to a value that is itself seen through `inner`. False if no strided
/// layout describes it.
bool compose(const Layout& outer, const Layout& inner, Layout& result);

}  // namespace blockgrad
