#include "blockgrad/graph/view.h"

#include <algorithm>
#include <optional>

#include "blockgrad/graph/reduce.h"

namespace blockgrad {

namespace {

// Lowest and highest element a layout reads; nothing for an empty one.
void check_inside(const Layout& layout, std::int64_t size) {
  if (layout.shape.size() == 0) return;
  std::int64_t low = layout.offset, high = layout.offset;
  for (int a = 0; a < layout.shape.rank(); ++a) {
    const std::int64_t reach =
        checked_multiply(layout.shape[a] - 1, layout.strides[static_cast<std::size_t>(a)]);
    (reach < 0 ? low : high) += reach;
  }
  if (low >= 0 && high < size) return;
  fail_internal({"layout ", to_string(layout), " leaves a value of ", size, " elements"});
}

Layout without_axes(const Layout& layout, std::span<const int> dropped) {
  std::vector<std::int64_t> sizes;
  Layout result;
  for (int a = 0; a < layout.shape.rank(); ++a) {
    if (std::find(dropped.begin(), dropped.end(), a) != dropped.end()) continue;
    result.strides[sizes.size()] = layout.strides[static_cast<std::size_t>(a)];
    sizes.push_back(layout.shape[a]);
  }
  result.shape = Shape(sizes);
  result.offset = layout.offset;
  return result;
}

// The order of axes in which the layout runs through memory, or nothing if it does not cover it
// exactly once.
std::optional<std::vector<int>> covering_order(const Layout& layout, std::int64_t size) {
  if (layout.offset != 0 || layout.shape.size() != size) return std::nullopt;
  std::vector<int> order;
  for (int a = 0; a < layout.shape.rank(); ++a) order.push_back(a);
  const auto stride = [&](int a) { return layout.strides[static_cast<std::size_t>(a)]; };
  // Insertion sort: few axes, stable, and it allocates nothing.
  const auto before = [&](int a, int b) {
    if (layout.shape[a] == 1 || layout.shape[b] == 1) {
      return layout.shape[a] == 1 && layout.shape[b] != 1;
    }
    return stride(a) > stride(b);
  };
  for (std::size_t i = 1; i < order.size(); ++i) {
    for (std::size_t k = i; k > 0 && before(order[k], order[k - 1]); --k) {
      std::swap(order[k], order[k - 1]);
    }
  }
  std::int64_t expected = 1;
  for (auto a = order.rbegin(); a != order.rend(); ++a) {
    if (layout.shape[*a] != 1 && stride(*a) != expected) return std::nullopt;
    expected *= layout.shape[*a];
  }
  return order;
}

}  // namespace

TensorType View::infer(Types in) const {
  check_inside(layout, in[0].shape.size());
  return {in[0].dtype, layout.shape};
}

std::vector<Expr> View::vjp(const Backward& b) const {
  Expr dy = b.dy();
  std::vector<int> repeated;
  for (int a = 0; a < layout.shape.rank(); ++a) {
    if (layout.strides[static_cast<std::size_t>(a)] == 0 && layout.shape[a] != 1)
      repeated.push_back(a);
  }
  if (!repeated.empty()) dy = reduce(dy, ReduceKind::sum, repeated, false);
  const Layout rest = without_axes(layout, repeated);
  const Shape& shape = b.input(0).shape();
  if (const auto order = covering_order(rest, shape.size())) {
    return {reshape(permute_dims(dy, *order), shape)};
  }
  return {make(Unview{{rest}, shape, 0.0, short_name}, {dy})};
}

TensorType Unview::infer(Types in) const {
  check_internal(in.size() == layouts.size() && !in.empty(), "unview of ", layouts.size(),
                 " parts got ", in.size());
  for (std::size_t i = 0; i < in.size(); ++i) {
    require(in[i].dtype == in[0].dtype, "parts differ in dtype: ", in[0].dtype, " and ",
            in[i].dtype);
    check_internal(in[i].shape == layouts[i].shape, "part ", i, " has shape ", in[i].shape,
                   ", its layout ", layouts[i].shape);
    check_inside(layouts[i], shape.size());
  }
  return {in[0].dtype, shape};
}

std::vector<Expr> Unview::vjp(const Backward& b) const {
  std::vector<Expr> gradients;
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    gradients.push_back(b.wants(static_cast<int>(i)) ? make(View{layouts[i], short_name}, {b.dy()})
                                                     : Expr());
  }
  return gradients;
}

namespace {

void require_operand(const Expr& x, std::string_view op, SourceLoc where) {
  if (!x) throw Error(to_string(current_origin(where), op) + ": its operand is an empty Expr");
}

}  // namespace

Expr broadcast_to(const Expr& x, const Shape& shape, SourceLoc where) {
  require_operand(x, "broadcast_to", where);
  if (x.shape() == shape) return x;
  Layout layout{shape, {}, 0};
  const Layout dense = Layout::dense(x.shape());
  const int added = shape.rank() - x.rank();
  const auto context = [&] { return to_string(current_origin(where), "broadcast_to"); };
  if (added < 0) throw Error(context() + join({": cannot broadcast ", x.shape(), " to ", shape}));
  for (int a = 0; a < x.rank(); ++a) {
    const bool repeats = x.shape()[a] == 1 && shape[a + added] != 1;
    if (!repeats && x.shape()[a] != shape[a + added]) {
      throw Error(context() + join({": cannot broadcast ", x.shape(), " to ", shape}));
    }
    layout.strides[static_cast<std::size_t>(a + added)] =
        repeats ? 0 : dense.strides[static_cast<std::size_t>(a)];
  }
  return make(View{layout, "broadcast_to"}, {x}, where);
}

Expr reshape(const Expr& x, std::span<const std::int64_t> sizes, SourceLoc where) {
  require_operand(x, "reshape", where);
  std::vector<std::int64_t> known(sizes.begin(), sizes.end());
  const auto context = [&] { return to_string(current_origin(where), "reshape"); };
  std::int64_t product = 1;
  std::int64_t* open = nullptr;
  for (std::int64_t& size : known) {
    if (size != -1) {
      product = checked_multiply(product, size);
      continue;
    }
    if (open) throw Error(context() + ": only one size may be -1");
    open = &size;
  }
  if (open) {
    if (product == 0 || x.shape().size() % product != 0) {
      throw Error(context() + join({": the size -1 cannot be worked out for ", x.shape().size(),
                                    " elements and ", product}));
    }
    *open = x.shape().size() / product;
  }
  for (const std::int64_t size : known) {
    if (size < 0) throw Error(context() + join({": a size must be -1 or at least 0, got ", size}));
  }
  return reshape(x, Shape(known), where);
}

Expr reshape(const Expr& x, std::initializer_list<std::int64_t> sizes, SourceLoc where) {
  return reshape(x, std::span(sizes.begin(), sizes.size()), where);
}

Expr reshape(const Expr& x, const Shape& shape, SourceLoc where) {
  require_operand(x, "reshape", where);
  if (x.shape() == shape) return x;
  if (x.shape().size() != shape.size()) {
    throw Error(to_string(current_origin(where), "reshape") +
                join({": cannot reshape ", x.shape(), " to ", shape, ": ", x.shape().size(),
                      " elements against ", shape.size()}));
  }
  return make(View{Layout::dense(shape), "reshape"}, {x}, where);
}

Expr permute_dims(const Expr& x, std::span<const int> axes, SourceLoc where) {
  require_operand(x, "permute_dims", where);
  const auto context = [&] { return to_string(current_origin(where), "permute_dims"); };
  const int rank = x.rank();
  if (static_cast<int>(axes.size()) != rank) {
    throw Error(context() + join({": ", x.shape(), " has ", rank, " axes, got ", axes.size()}));
  }
  const Layout dense = Layout::dense(x.shape());
  std::vector<std::int64_t> sizes;
  Layout layout;
  std::array<bool, max_rank> seen{};
  bool identity = true;
  for (int i = 0; i < rank; ++i) {
    int axis = axes[static_cast<std::size_t>(i)];
    if (axis < -rank || axis >= rank)
      throw Error(context() + join({": axis ", axis, " is outside [", -rank, ", ", rank, ")"}));
    if (axis < 0) axis += rank;
    if (std::exchange(seen[static_cast<std::size_t>(axis)], true))
      throw Error(context() +
                  join({": axis ", axes[static_cast<std::size_t>(i)], " is named twice"}));
    sizes.push_back(x.shape()[axis]);
    layout.strides[static_cast<std::size_t>(i)] = dense.strides[static_cast<std::size_t>(axis)];
    identity = identity && axis == i;
  }
  if (identity) return x;
  layout.shape = Shape(sizes);
  return make(View{layout, "permute_dims"}, {x}, where);
}

}  // namespace blockgrad
