#include "blockgrad/ops/windows.h"

#include "blockgrad/graph/view.h"
#include "ops/rules.h"
#include "ops/window_layout.h"

namespace blockgrad {

namespace {

using Numbers = std::span<const std::int64_t>;

std::vector<std::int64_t> one_per_size(Numbers numbers, Numbers sizes, std::string_view what) {
  if (numbers.empty()) return std::vector<std::int64_t>(sizes.size(), 1);
  require(numbers.size() == sizes.size(), "wants a ", what, " for each of ", sizes.size(),
          " sizes, got ", numbers.size());
  for (const std::int64_t n : numbers) require(n >= 1, "a ", what, " must be at least 1, got ", n);
  return {numbers.begin(), numbers.end()};
}

}  // namespace

namespace detail {

Layout window_layout(const Shape& shape, Numbers sizes, Numbers strides, Numbers dilation) {
  require(!sizes.empty() && sizes.size() <= static_cast<std::size_t>(shape.rank()), "wants 1 to ",
          shape.rank(), " sizes for ", shape, ", got ", sizes.size());
  const auto steps = one_per_size(strides, sizes, "stride");
  const auto spread = one_per_size(dilation, sizes, "dilation");
  const Layout dense = Layout::dense(shape);
  Layout layout = dense;
  std::vector<std::int64_t> result = sizes_of(shape);
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const std::size_t axis = static_cast<std::size_t>(shape.rank()) - sizes.size() + i;
    require(sizes[i] >= 1, "a size must be at least 1, got ", sizes[i]);
    const std::int64_t reach = checked_multiply(spread[i], sizes[i] - 1);
    require(reach < result[axis], "a window of ", sizes[i], " with dilation ", spread[i],
            " is larger than axis ", axis, " of ", shape);
    result[axis] = (result[axis] - 1 - reach) / steps[i] + 1;
    result.push_back(sizes[i]);
    // An axis of one step is never walked along; its stride might not fit 64 bits.
    layout.strides[axis] = result[axis] == 1 ? 0 : dense.strides[axis] * steps[i];
    if (result.size() <= static_cast<std::size_t>(max_rank))
      layout.strides[result.size() - 1] = sizes[i] == 1 ? 0 : dense.strides[axis] * spread[i];
  }
  layout.shape = Shape(result);
  return layout;
}

}  // namespace detail

Expr windows(Arg x, Numbers sizes, Numbers strides, Numbers dilation) {
  const Expr e = as_expr(x, DType::f32);
  return detail::in_context("windows", x.where(), [&] {
    return make(View{detail::window_layout(e.shape(), sizes, strides, dilation), "windows"}, {e},
                x.where());
  });
}

Expr windows(Arg x, std::initializer_list<std::int64_t> sizes,
             std::initializer_list<std::int64_t> strides,
             std::initializer_list<std::int64_t> dilation) {
  return windows(x, Numbers(sizes.begin(), sizes.size()), Numbers(strides.begin(), strides.size()),
                 Numbers(dilation.begin(), dilation.size()));
}

}  // namespace blockgrad
