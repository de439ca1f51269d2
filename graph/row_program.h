#pragma once
// RowProgram: Maps and Reduces over the lines of one space as a single node, made by fuse_rows
// after the gradient. It says what depends on what and nothing about how: a backend keeps the
// elements of a few lines in its cache and walks the steps.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "blockgrad/graph/map.h"
#include "blockgrad/graph/reduce.h"

namespace blockgrad {

/// Elements (o, k, i, t) in row-major order, of which a line is those with one o and one i. There
/// is a t only where two stretches of axes are reduced, as over the images and pixels of each
/// channel.
struct RowSpace {
  std::int64_t outer = 0, n = 0, inner = 0, tail = 1;

  bool operator==(const RowSpace&) const = default;
  std::int64_t lines() const { return outer * inner; }
  std::int64_t length() const { return n * tail; }  // of a line
  std::int64_t elements() const { return lines() * length(); }
  /// Where a value per line lies for every element.
  Layout spread() const { return {Shape{outer, n, inner, tail}, {inner, 0, 1, 0}, 0}; }
};

/// The space of a shape whose axes are inside the lines where `is_inside` says so; nothing if they
/// lie in more than two stretches. Axes of size 1 do not count.
template <class IsInside>
std::optional<RowSpace> space_of(const Shape& shape, IsInside is_inside) {
  RowSpace space{1, 1, 1, 1};
  std::int64_t* const parts[] = {&space.outer, &space.n, &space.inner, &space.tail};
  std::size_t at = 0;
  for (int a = 0; a < shape.rank(); ++a) {
    if (shape[a] == 1) continue;
    if (is_inside(a) != (at % 2 == 1)) ++at;
    if (at == std::size(parts)) return std::nullopt;
    *parts[at] *= shape[a];
  }
  return space;
}

/// The space whose lines are what a Reduce adds up; nothing if other axes lie between its own.
std::optional<RowSpace> space_of(const Reduce& reduce, const Shape& shape);

/// The dtype that a Reduce makes of another one.
DType reduced_dtype(ReduceKind kind, DType in);

/// Result `result` of step `step`; of step -1: input `result` of the program.
struct RowValue {
  std::int32_t step = -1, result = 0;
  bool operator==(const RowValue&) const = default;
};

/// A Map of elements or of lines, or a Reduce of every line. A value per line that elements read is
/// spread over its line.
struct RowStep {
  ScalarFn fn;                       // of a Map
  std::optional<ReduceKind> reduce;  // of a Reduce, whose input has a value per element
  bool by_line = false;              // the results have a value per line
  std::vector<RowValue> inputs;
  std::string_view name = {};  // of the op it was, and where that came from; not compared
  Origin origin = {};

  bool operator==(const RowStep& other) const {
    return (reduce ? reduce == other.reduce : !other.reduce && fn == other.fn) &&
           by_line == other.by_line && inputs == other.inputs;
  }
};

/// Inputs: as many elements as the space has, or as many as it has lines, in any layout and shape;
/// or with the numbers of its rows among them, i32 or i64, a table whose rows are the lines, both
/// dense. Numbers are below the table's height.
struct RowProgram {
  static constexpr std::string_view name = "row program";
  /// With `over` lines of a value per element, that many neighbouring ones added up, in the order
  /// of a Reduce; inner and tail are 1.
  struct Result {
    RowValue value;
    Shape shape;
    std::int64_t over = 1;
    bool operator==(const Result&) const = default;
  };

  /// Line l of input `table` is its row number l of input `numbers`; inner and tail are 1.
  struct Take {
    std::int32_t table = 0, numbers = 0;
    bool operator==(const Take&) const = default;
  };

  RowSpace space;
  std::vector<RowStep> steps;
  std::vector<Result> results;
  std::vector<Take> takes = {};

  bool operator==(const RowProgram& other) const {
    return space == other.space && steps == other.steps && results == other.results &&
           takes == other.takes;
  }
  /// The take of an input that is a table; null for others.
  const Take* take_of(std::size_t input) const;
  std::vector<TensorType> infer(Types in) const;
  std::vector<Expr> vjp(const Backward&) const;
  std::string print() const;
  bool accepts(int input, const Layout& layout) const;
  Cost cost(Types in, Types out) const;
};

/// Some results of a scalar program, and the inputs that they need: those of `fn`, in their order.
struct ScalarPart {
  ScalarFn fn;
  std::vector<std::int32_t> inputs;
};
ScalarPart part_of(const ScalarFn& fn, std::span<const std::int32_t> results);

/// The same steps for other results, and the inputs that they need: those of `program`, in order.
struct RowPart {
  RowProgram program;
  std::vector<std::int32_t> inputs;
};
RowPart part_of(const RowProgram& program, std::vector<RowProgram::Result> results);

}  // namespace blockgrad
