#include "backends/cpu/numerics.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "backends/cpu/walk.h"
#include "blockgrad/graph/reduce.h"
#include "blockgrad/ops/linalg.h"
#include "graph/map_group.h"

namespace blockgrad {

namespace {

template <class T>
ValueRange range_as(const T* memory, const Layout& layout) {
  constexpr std::int64_t chunk = 256;
  T values[chunk];
  const Walk walk(layout);
  ValueRange range;
  for (std::int64_t begin = 0; begin < layout.shape.size(); begin += chunk) {
    const std::int64_t n = std::min(chunk, layout.shape.size() - begin);
    walk.load(values, memory, begin, n);
    for (std::int64_t i = 0; i < n; ++i) {
      const auto value = static_cast<double>(values[i]);
      if (!std::isfinite(value) && range.first < 0) {
        range.first = begin + i;
        range.first_value = value;
      }
      range.nans += std::isnan(value);
      range.infinities += std::isinf(value);
      if (std::isnan(value)) continue;
      range.low = range.numbers == 0 ? value : std::min(range.low, value);
      range.high = range.numbers == 0 ? value : std::max(range.high, value);
      ++range.numbers;
    }
  }
  return range;
}

template <class Is>
bool has_literal(const GraphNode& node, Is is) {
  const ScalarFn* fn = formula_of(node.op);
  if (!fn) return false;
  for (const ScalarInstr& instr : fn->code()) {
    if (instr.op == ScalarOp::constant && is_floating(instr.dtype) &&
        is(std::bit_cast<double>(instr.bits)))
      return true;
  }
  return false;
}

// Whether a layout meets every element: dense up to the order and direction of its axes.
bool reads_all(const Layout& layout, std::int64_t size) {
  std::vector<std::pair<std::int64_t, std::int64_t>> axes;  // stride, size
  for (int a = 0; a < layout.shape.rank(); ++a) {
    const std::int64_t stride = std::abs(layout.strides[static_cast<std::size_t>(a)]);
    if (stride != 0 && layout.shape[a] != 1) axes.emplace_back(stride, layout.shape[a]);
    if (layout.shape[a] == 0) return size == 0;
  }
  std::sort(axes.begin(), axes.end());
  std::int64_t expected = 1;
  for (const auto& [stride, count] : axes) {
    if (stride != expected) return false;
    expected *= count;
  }
  return expected == size;
}

}  // namespace

ValueRange range_of(const std::byte* memory, const Operand& operand) {
  return visit(operand.dtype, [&](auto zero) {
    return range_as(reinterpret_cast<const decltype(zero)*>(memory), operand.layout);
  });
}

std::string to_string(const ValueRange& range, const TensorType& type) {
  std::string text = to_string(type);
  if (range.numbers > 0)
    text += range.low == range.high ? fmt::format(" of {:.6g}", range.low)
                                    : fmt::format(" from {:.6g} to {:.6g}", range.low, range.high);
  if (range.nans > 0)
    text += fmt::format(" {} {} NaN", range.numbers > 0 ? "with" : "of", range.nans);
  return text;
}

std::string index_text(std::int64_t position, const Shape& shape) {
  std::string text;
  for (int a = shape.rank() - 1; a >= 0; --a) {
    text = fmt::format("{}{}{}", position % shape[a], text.empty() ? "" : ", ", text);
    position /= shape[a];
  }
  return "[" + text + "]";
}

bool carries(ScalarOp op, int argument) {
  switch (op) {
    case ScalarOp::add:
    case ScalarOp::subtract:
    case ScalarOp::multiply:
    case ScalarOp::negative:
    case ScalarOp::abs:
    case ScalarOp::square:
    case ScalarOp::sqrt:
    case ScalarOp::log:
    case ScalarOp::sin:
    case ScalarOp::cos:
    case ScalarOp::fma: return true;
    case ScalarOp::divide: return argument == 0;
    default: return false;
  }
}

bool carries(const GraphNode& node, std::size_t n, const Operand& input, std::int64_t source_size) {
  if (!reads_all(input.layout, source_size)) return false;
  if (node.op.as<MatMul>()) return node.types[0].shape.size() > 0;
  if (const Reduce* reduce = node.op.as<Reduce>()) return reduce->kind == ReduceKind::sum;
  const ScalarFn* fn = formula_of(node.op);
  if (!fn) return false;
  n %= fn->inputs().size();
  const auto code = fn->code();
  for (const ScalarInstr& instr : code) {
    for (int a = 0; a < arity(instr.op); ++a) {
      const ScalarInstr& source =
          code[static_cast<std::size_t>(instr.args[static_cast<std::size_t>(a)])];
      if (source.op == ScalarOp::input && source.bits == n && carries(instr.op, a)) return true;
    }
  }
  return false;
}

bool has_nan_literal(const GraphNode& node) {
  return has_literal(node, [](double value) { return std::isnan(value); });
}

bool has_infinite_literal(const GraphNode& node) {
  return has_literal(node, [](double value) { return std::isinf(value); });
}

}  // namespace blockgrad
