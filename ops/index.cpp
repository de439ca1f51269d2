#include "blockgrad/ops/index.h"

#include <algorithm>
#include <numeric>

#include "blockgrad/graph/view.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/movement.h"
#include "ops/rules.h"

namespace blockgrad {

namespace {

constexpr std::int64_t i32_limit = std::int64_t{1} << 31;

void require_indices(const TensorType& type) {
  require(type.dtype == DType::i32 || type.dtype == DType::i64, "indices must be i32 or i64, got ",
          type.dtype);
}

// [indices.., rest of x without axis 0]
Shape gathered(const Shape& x, const Shape& indices) {
  std::vector<std::int64_t> sizes(indices.sizes().begin(), indices.sizes().end());
  sizes.insert(sizes.end(), x.sizes().begin() + 1, x.sizes().end());
  return Shape(sizes);
}

TensorType rows_written(Types in, std::string_view what) {
  require_indices(in[1]);
  require(in[0].shape.rank() >= 1, "wants rows, got a scalar");
  require(in[0].dtype == in[2].dtype, "dtypes differ: ", in[0].dtype, " and ", in[2].dtype);
  const Shape expected = gathered(in[0].shape, in[1].shape);
  require(in[2].shape == expected, "the ", what, " rows must have shape ", expected, ", got ",
          in[2].shape);
  return in[0];
}

// One number at every place need not be written out before the rows are.
bool is_dense_or_one_number(const Layout& layout) {
  const auto strides =
      std::span(layout.strides).first(static_cast<std::size_t>(layout.shape.rank()));
  return layout.is_dense() ||
         (layout.offset == 0 &&
          std::all_of(strides.begin(), strides.end(), [](std::int64_t s) { return s == 0; }));
}

Expr zeros_like(const Expr& x) { return broadcast_to(constant(zeros({}, x.dtype())), x.shape()); }

Expr gather(const Expr& x, const Expr& indices) { return make(Gather{}, {x, indices}); }

// Rows of two-byte numbers are added as f32 and rounded once.
Expr add_rows(const Expr& x, const Expr& indices, const Expr& v) {
  if (!is_half(x.dtype()) || v.dtype() != x.dtype()) return make(ScatterAdd{}, {x, indices, v});
  const Expr wide = make(ScatterAdd{}, {cast(x, DType::f32), indices, cast(v, DType::f32)});
  return cast(wide, x.dtype());
}

// Axes `first` .. first+count-1 brought to `to` in the order of the others.
Expr moved(const Expr& x, int first, int count, int to) {
  std::vector<int> axes(static_cast<std::size_t>(x.rank()));
  std::iota(axes.begin(), axes.end(), 0);
  const auto begin = axes.begin();
  if (to < first) std::rotate(begin + to, begin + first, begin + first + count);
  else std::rotate(begin + first, begin + first + count, begin + to + count);
  return permute_dims(x, axes);
}

Shape with_size(const Shape& shape, int axis, std::int64_t size) {
  std::vector<std::int64_t> sizes(shape.sizes().begin(), shape.sizes().end());
  sizes[static_cast<std::size_t>(axis)] = size;
  return Shape(sizes);
}

// Numbers of elements in the row-major x: index * stride of `axis`, plus the place on the others,
// which x repeats where its size is 1.
Expr flat_index(const Shape& x, const Expr& indices, int axis) {
  const Layout layout = Layout::dense(x);
  const std::int64_t most = *std::max_element(layout.strides.begin(), layout.strides.end());
  const DType dtype = std::max(most, x.size()) < i32_limit ? DType::i32 : DType::i64;
  const auto stride = [&](int a) {
    return static_cast<double>(layout.strides[static_cast<std::size_t>(a)]);
  };
  Expr flat = astype(indices, dtype) * stride(axis);
  for (int a = 0; a < x.rank(); ++a) {
    if (a != axis && x[a] > 1)
      flat = flat + astype(coordinate(indices.shape(), a), dtype) * stride(a);
  }
  return flat;
}

Expr flattened(const Expr& x) { return reshape(x, {x.shape().size()}); }

// The shape of one element per index.
Shape along(const Shape& x, const Shape& indices, int axis) {
  require(x.rank() == indices.rank(), "the indices must have the ", x.rank(), " axes of ", x,
          ", got ", indices);
  const std::int64_t size = indices[axis];
  return with_size(broadcast(with_size(x, axis, 1), with_size(indices, axis, 1)), axis, size);
}

Expr triangle(std::string_view name, const Arg& x, std::int64_t k, bool lower) {
  const Expr e = as_expr(x, DType::f32);
  return detail::in_context(name, x.where(), [&] {
    require(e.rank() >= 2, "wants at least two axes, got ", e.shape());
    const std::int64_t rows = e.shape()[e.rank() - 2], columns = e.shape()[e.rank() - 1];
    const Expr row = coordinate(e.shape(), -2), column = coordinate(e.shape(), -1);
    const auto diagonal = static_cast<double>(std::clamp(k, -rows, columns));
    return map(name, {e, row, column}, [&](std::span<const Scalar> s) {
      const Scalar right = s[2] - s[1];
      return where(lower ? right <= diagonal : right >= diagonal, s[0], 0);
    });
  });
}

}  // namespace

TensorType CheckIndex::infer(Types in) const {
  require_indices(in[0]);
  return in[0];
}

TensorType Gather::infer(Types in) const {
  require_indices(in[1]);
  require(in[0].shape.rank() >= 1, "wants rows, got a scalar");
  return {in[0].dtype, gathered(in[0].shape, in[1].shape)};
}

std::vector<Expr> Gather::vjp(const Backward& b) const {
  return {add_rows(zeros_like(b.input(0)), b.input(1), b.dy()), Expr()};
}

TensorType ScatterAdd::infer(Types in) const {
  require(in[0].dtype != DType::boolean, "wants numbers, got bool");
  require(!is_half(in[0].dtype), "adds ", in[0].dtype, " as f32 only; use scatter_add()");
  return rows_written(in, "added");
}

std::vector<Expr> ScatterAdd::vjp(const Backward& b) const {
  return {b.dy(), Expr(), b.wants(2) ? gather(b.dy(), b.input(1)) : Expr()};
}

bool ScatterAdd::accepts(int input, const Layout& layout) const {
  return input == 0 ? is_dense_or_one_number(layout) : layout.is_dense();
}

TensorType Put::infer(Types in) const { return rows_written(in, "written"); }

std::vector<Expr> Put::vjp(const Backward& b) const {
  const Expr& i = b.input(1);
  std::vector<Expr> gradients(3);
  if (b.wants(0)) gradients[0] = make(Put{}, {b.dy(), i, zeros_like(b.input(2))});
  if (!b.wants(2)) return gradients;
  // Who wrote last: each row is told the numbers of its writers, the last one stays.
  const std::int64_t count = i.shape().size();
  const DType dtype = count < i32_limit ? DType::i32 : DType::i64;
  const Expr number = reshape(constant(arange(0, static_cast<double>(count), 1, dtype)), i.shape());
  const Shape rows{b.input(0).shape()[0]};
  const Expr nobody = broadcast_to(constant(full({}, -1, dtype)), rows);
  const Expr won = equal(gather(make(Put{}, {nobody, i, number}), i), number);
  std::vector<std::int64_t> sizes(i.shape().sizes().begin(), i.shape().sizes().end());
  sizes.resize(static_cast<std::size_t>(b.input(2).rank()), 1);
  gradients[2] = where(reshape(won, Shape(sizes)), gather(b.dy(), i), 0);
  return gradients;
}

bool Put::accepts(int input, const Layout& layout) const {
  return input == 1 ? layout.is_dense() : is_dense_or_one_number(layout);
}

namespace detail {

Expr checked_index(const Expr& indices, std::int64_t n, std::string_view op, SourceLoc where) {
  return make(CheckIndex{n, op}, {indices}, where);
}

Expr along_axis(const Expr& x, const Expr& indices, int axis) {
  const Expr spread = broadcast_to(indices, along(x.shape(), indices.shape(), axis));
  return gather(flattened(x), flat_index(x.shape(), spread, axis));
}

}  // namespace detail

Expr take(Arg x, Arg indices, int axis) {
  const Expr e = as_expr(x, DType::f32), i = as_expr(indices, DType::i32);
  return detail::in_context("take", x.where(), [&] {
    require(e.rank() >= 1, "wants rows, got a scalar");
    const int a = detail::axis_of(e.shape(), axis);
    const Expr checked = detail::checked_index(i, e.shape()[a], "take", x.where());
    return moved(gather(moved(e, a, 1, 0), checked), 0, i.rank(), a);
  });
}

Expr scatter_add(Arg x, Arg indices, Arg v, int axis) {
  const Expr e = as_expr(x, DType::f32), i = as_expr(indices, DType::i32);
  const Expr added = as_expr(v, e.dtype());
  return detail::in_context("scatter_add", x.where(), [&] {
    require(e.rank() >= 1, "wants rows, got a scalar");
    const int a = detail::axis_of(e.shape(), axis);
    const Expr checked = detail::checked_index(i, e.shape()[a], "scatter_add", x.where());
    require(added.rank() == e.rank() - 1 + i.rank(), "x ", e.shape(), " with indices ", i.shape(),
            " wants added slices of rank ", e.rank() - 1 + i.rank(), ", got ", added.shape());
    const Expr rows = moved(added, a, i.rank(), 0);
    return moved(add_rows(moved(e, a, 1, 0), checked, rows), 0, 1, a);
  });
}

Expr take_along_axis(Arg x, Arg indices, int axis) {
  const Expr e = as_expr(x, DType::f32), i = as_expr(indices, DType::i32);
  return detail::in_context("take_along_axis", x.where(), [&] {
    const int a = detail::axis_of(e.shape(), axis);
    along(e.shape(), i.shape(), a);
    return detail::along_axis(
        e, detail::checked_index(i, e.shape()[a], "take_along_axis", x.where()), a);
  });
}

Expr put_along_axis(Arg x, Arg indices, Arg v, int axis) {
  const Expr e = as_expr(x, DType::f32), i = as_expr(indices, DType::i32);
  return detail::in_context("put_along_axis", x.where(), [&] {
    const int a = detail::axis_of(e.shape(), axis);
    const Shape places = along(e.shape(), i.shape(), a);
    require(with_size(places, a, e.shape()[a]) == e.shape(), "indices ", i.shape(),
            " do not broadcast to ", e.shape(), " along the other axes");
    const Expr checked = detail::checked_index(i, e.shape()[a], "put_along_axis", x.where());
    const Expr flat = flat_index(e.shape(), broadcast_to(checked, places), a);
    const Expr value = broadcast_to(as_expr(v, e.dtype()), places);
    return reshape(make(Put{}, {flattened(e), flat, value}), e.shape());
  });
}

Expr at(Arg x, Arg indices, int axis) {
  const Expr e = as_expr(x, DType::f32), i = as_expr(indices, DType::i32);
  return detail::in_context("at", x.where(), [&] {
    const int a = detail::axis_of(e.shape(), axis);
    std::vector<std::int64_t> sizes(e.shape().sizes().begin(), e.shape().sizes().end());
    sizes.erase(sizes.begin() + a);
    require(i.shape() == Shape(sizes), "x ", e.shape(), " wants indices of shape ", Shape(sizes),
            ", got ", i.shape());
    const Expr checked = detail::checked_index(i, e.shape()[a], "at", x.where());
    return squeeze(detail::along_axis(e, expand_dims(checked, a), a), a);
  });
}

Expr one_hot(Arg indices, std::int64_t n, DType dtype) {
  const Expr e = as_expr(indices, DType::i32);
  return detail::in_context("one_hot", indices.where(), [&] {
    require(n >= 0, "wants at least 0 classes, got ", n);
    const Expr i = detail::checked_index(e, n, "one_hot", indices.where());
    std::vector<std::int64_t> sizes(i.shape().sizes().begin(), i.shape().sizes().end());
    sizes.push_back(n);
    const Expr place = coordinate(Shape(sizes), -1);
    return map("one_hot", {place, expand_dims(i, -1)}, [&](std::span<const Scalar> s) {
      return astype(equal(astype(s[0], i.dtype()), s[1]), dtype);
    });
  });
}

Expr tril(Arg x, std::int64_t k) { return triangle("tril", x, k, true); }
Expr triu(Arg x, std::int64_t k) { return triangle("triu", x, k, false); }

}  // namespace blockgrad
