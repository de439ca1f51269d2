#include "blockgrad/graph/shape.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace blockgrad {

std::int64_t checked_multiply(std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  require(!__builtin_mul_overflow(a, b, &result), "size ", a, " x ", b, " does not fit 64 bits");
  return result;
}

std::int64_t checked_add(std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  require(!__builtin_add_overflow(a, b, &result), "size ", a, " + ", b, " does not fit 64 bits");
  return result;
}

Shape::Shape(std::span<const std::int64_t> sizes) : rank_(static_cast<int>(sizes.size())) {
  require(sizes.size() <= static_cast<std::size_t>(max_rank), "a shape has at most ", max_rank,
          " axes, got ", sizes.size());
  bool empty = false;
  std::int64_t nonzero = 1;  // checked without the zeros, so that [2^40, 0, 2^40] stays an error
  for (std::size_t a = 0; a < sizes.size(); ++a) {
    require(sizes[a] >= 0, "size of axis ", a, " must not be negative, got ", sizes[a]);
    sizes_[a] = sizes[a];
    if (sizes[a] == 0) empty = true;
    else nonzero = checked_multiply(nonzero, sizes[a]);
  }
  size_ = empty ? 0 : nonzero;
}

std::string to_string(const Shape& shape) {
  return fmt::format("[{}]", fmt::join(shape.sizes(), ", "));
}

int normalize_axis(int axis, int rank) {
  require(axis >= -rank && axis < rank, "axis ", axis, " is outside [", -rank, ", ", rank, ")");
  return axis < 0 ? axis + rank : axis;
}

Shape broadcast(const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  std::array<std::int64_t, max_rank> sizes{};
  for (int back = 1; back <= rank; ++back) {
    const std::int64_t x = back <= a.rank() ? a[a.rank() - back] : 1;
    const std::int64_t y = back <= b.rank() ? b[b.rank() - back] : 1;
    require(x == y || x == 1 || y == 1, "shapes do not broadcast: ", a, " and ", b);
    sizes[static_cast<std::size_t>(rank - back)] = x == 1 ? y : x;
  }
  return Shape(std::span<const std::int64_t>(sizes.data(), static_cast<std::size_t>(rank)));
}

Layout Layout::dense(const Shape& shape) {
  Layout layout{shape, {}, 0};
  std::int64_t stride = 1;
  for (int a = shape.rank() - 1; a >= 0; --a) {
    layout.strides[static_cast<std::size_t>(a)] = stride;
    stride *= std::max<std::int64_t>(shape[a], 1);
  }
  return layout;
}

bool Layout::is_dense() const {
  if (offset != 0) return false;
  std::int64_t stride = 1;
  for (int a = shape.rank() - 1; a >= 0; --a) {
    if (shape[a] != 1 && strides[static_cast<std::size_t>(a)] != stride) return false;
    stride *= std::max<std::int64_t>(shape[a], 1);
  }
  return true;
}

std::string to_string(const Layout& layout) {
  const std::span strides(layout.strides.data(), static_cast<std::size_t>(layout.shape.rank()));
  return fmt::format("{} strides [{}] offset {}", to_string(layout.shape), fmt::join(strides, ", "),
                     layout.offset);
}

namespace {

// The runs of neighbouring axes of `inner` that step through memory evenly, innermost first.
struct Run {
  std::int64_t size = 1;
  std::int64_t stride = 0;
};

struct Runs {
  std::array<Run, max_rank> runs{};
  int count = 0;
};

Runs even_runs(const Layout& layout) {
  Runs result;
  for (int a = layout.shape.rank() - 1; a >= 0; --a) {
    const std::int64_t size = layout.shape[a];
    if (size == 1) continue;
    const std::int64_t stride = layout.strides[static_cast<std::size_t>(a)];
    Run* last =
        result.count > 0 ? &result.runs[static_cast<std::size_t>(result.count - 1)] : nullptr;
    if (last && stride == last->stride * last->size) last->size *= size;
    else result.runs[static_cast<std::size_t>(result.count++)] = {size, stride};
  }
  return result;
}

}  // namespace

bool compose(const Layout& outer, const Layout& inner, Layout& result) {
  if (outer.shape.size() == 0) {  // reads nothing, so any strides will do
    result = Layout::dense(outer.shape);
    return true;
  }
  Layout composed{outer.shape, {}, inner.offset};
  const Runs inner_runs = even_runs(inner);
  // A position p of the dense inner value is split over its even runs; an outer axis is strided in
  // memory if its steps never carry from one run into the next. That is decided digit by digit.
  std::array<std::int64_t, max_rank> high{};  // largest digit reached in each run
  std::int64_t rest = outer.offset;
  for (int r = 0; r < inner_runs.count; ++r) {
    const Run& run = inner_runs.runs[static_cast<std::size_t>(r)];
    const bool last = r + 1 == inner_runs.count;
    const std::int64_t digit = last ? rest : rest % run.size;
    high[static_cast<std::size_t>(r)] = digit;
    composed.offset += digit * run.stride;
    rest = last ? 0 : rest / run.size;
  }
  for (int a = 0; a < outer.shape.rank(); ++a) {
    const std::int64_t size = outer.shape[a];
    const std::int64_t step = outer.strides[static_cast<std::size_t>(a)];
    if (size <= 1 || step == 0) continue;
    if (step < 0) {
      // Only the simple case of one run is followed; everything else becomes a copy.
      if (inner_runs.count != 1) return false;
      composed.strides[static_cast<std::size_t>(a)] = step * inner_runs.runs[0].stride;
      continue;
    }
    std::int64_t remaining = step;
    std::int64_t stride = 0;
    for (int r = 0; r < inner_runs.count; ++r) {
      const Run& run = inner_runs.runs[static_cast<std::size_t>(r)];
      const bool last = r + 1 == inner_runs.count;
      const std::int64_t digit = last ? remaining : remaining % run.size;
      stride += digit * run.stride;
      high[static_cast<std::size_t>(r)] += digit * (size - 1);
      remaining = last ? 0 : remaining / run.size;
    }
    composed.strides[static_cast<std::size_t>(a)] = stride;
  }
  if (outer.shape.size() > 0) {
    for (int r = 0; r + 1 < inner_runs.count; ++r) {
      if (high[static_cast<std::size_t>(r)] >= inner_runs.runs[static_cast<std::size_t>(r)].size)
        return false;
    }
  }
  result = composed;
  return true;
}

}  // namespace blockgrad
