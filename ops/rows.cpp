#include "blockgrad/ops/rows.h"

#include <algorithm>

#include "blockgrad/graph/view.h"
#include "blockgrad/ops/index.h"

namespace blockgrad {

std::vector<TensorType> MergeRows::infer(Types in) const {
  require(in[0].dtype == DType::i32 || in[0].dtype == DType::i64,
          "indices must be i32 or i64, got ", in[0].dtype);
  require(in[1].dtype == DType::f32 || in[1].dtype == DType::f64, "values must be f32 or f64, got ",
          in[1].dtype);
  const Shape& i = in[0].shape;
  const Shape& v = in[1].shape;
  require(i.rank() == 1 && v.rank() >= 1 && v[0] == i[0], "indices ", i, " want as many rows, got ",
          v);
  const std::int64_t largest = most < 0 ? i[0] : std::min(most, i[0]);
  std::vector<std::int64_t> sizes(v.sizes().begin(), v.sizes().end());
  sizes[0] = largest;
  return {{in[0].dtype, {largest}}, {in[1].dtype, Shape(sizes)}, {DType::i64, {}}};
}

Rows merge_rows(Arg indices, Arg v) {
  const Expr i = as_expr(indices, DType::i32);
  const Expr values = as_expr(v, DType::f32);
  const std::span<const std::int64_t> sizes = values.shape().sizes();
  const auto lead = static_cast<std::size_t>(i.rank());
  require(sizes.size() >= lead && Shape(sizes.first(lead)) == i.shape(),
          to_string(current_origin(indices.where()), MergeRows::name), ": indices ", i.shape(),
          " want values of shape ", i.shape(), " and the shape of a row, got ", values.shape());
  std::vector<std::int64_t> flat = {i.shape().size()};
  flat.insert(flat.end(), sizes.begin() + i.rank(), sizes.end());
  const std::vector<Expr> merged = make_all(
      MergeRows{},
      {reshape(i, Shape{flat[0]}, indices.where()), reshape(values, Shape(flat), v.where())},
      indices.where());
  return {merged[0], merged[1], merged[2]};
}

Expr put_rows(Arg x, const Rows& rows) {
  const Expr e = as_expr(x, DType::f32);
  require(rows.rows && rows.values && rows.count,
          to_string(current_origin(x.where()), PutRows::name), ": rows, values or count are empty");
  const std::int64_t n = e.rank() > 0 ? e.shape()[0] : 0;
  const Expr checked = make(CheckIndex{n}, {rows.rows}, x.where());
  return make(PutRows{}, {e, checked, rows.values, rows.count}, x.where());
}

}  // namespace blockgrad
