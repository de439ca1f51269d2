#pragma once
// Where elements of a line lie, as CUDA text: sums of strides times coordinates. Nothing here needs
// CUDA.

#include <cstdint>
#include <string>
#include <vector>

#include "graph/row_program.h"

namespace blockgrad {

/// Elements in row-major order whose axes are joined to stretches, outermost first, that lie along
/// lines or across them. Line `line` has the elements `j`; c0, c1, ... is where an element lies
/// along each stretch.
struct CudaLines {
  struct Stretch {
    std::int64_t size = 1;
    bool is_along = false;
  };
  std::vector<Stretch> stretches;

  /// One line.
  explicit CudaLines(std::int64_t length) : stretches{{length, true}} {}
  explicit CudaLines(const RowSpace& space);
  /// Of what a Reduce adds up, wherever its axes lie.
  CudaLines(const Reduce& reduce, const Shape& shape);

  std::int64_t lines() const { return size(false); }
  std::int64_t length() const { return size(true); }
  /// The innermost stretch that has more than one element.
  const Stretch& innermost() const { return stretches.back(); }

  /// Lines `const long c1 = ...;` that take the number of a line, or of an element in it, apart.
  std::string coordinates(bool is_along, std::string_view number, std::string_view indent) const;

 private:
  std::int64_t size(bool is_along) const;
};

/// The place of an element in an operand's memory is `line` + `along`, of which `line` is the same
/// for all elements of a line; both in elements, without the layout's offset.
struct CudaPlace {
  std::string line = "0", along = "0";
  bool is_same_along = true;  // `along` is 0
  bool needs_number = false;  // `along` is a text of e, the element's number, and `line` is 0
  std::int64_t run = 1;  // the largest known power of two up to 16 of elements, from any multiple
                         // of it on, that lie in a row; the first of them at a multiple of it
};

/// Of an operand with a value per element, or per line.
CudaPlace place_of_elements(const CudaLines& lines, const Layout& layout);
CudaPlace place_of_lines(const Layout& layout);

}  // namespace blockgrad
