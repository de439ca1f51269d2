#include "blockgrad/graph/put_rows.h"

namespace blockgrad {

TensorType PutRows::infer(Types in) const {
  const Shape& x = in[0].shape;
  require(x.rank() >= 1, "wants rows, got a scalar");
  require(in[1].dtype == DType::i32 || in[1].dtype == DType::i64,
          "row numbers must be i32 or i64, got ", in[1].dtype);
  require(in[1].shape.rank() == 1, "row numbers must have one axis, got ", in[1].shape);
  require(in[2].dtype == in[0].dtype, "dtypes differ: ", in[0].dtype, " and ", in[2].dtype);
  std::vector<std::int64_t> sizes(x.sizes().begin(), x.sizes().end());
  sizes[0] = in[1].shape[0];
  require(in[2].shape == Shape(sizes), "the new rows must have shape ", Shape(sizes), ", got ",
          in[2].shape);
  require(in[3] == TensorType{DType::i64, {}}, "the count must be an i64 scalar, got ",
          to_string(in[3]));
  return in[0];
}

// What it moves where it writes in place.
Cost PutRows::cost(Types in, Types) const {
  return {0, static_cast<double>(bytes_of(in[1])) + 2 * static_cast<double>(bytes_of(in[2]))};
}

}  // namespace blockgrad
