#include "graph/row_update.h"

#include <algorithm>

namespace blockgrad {

namespace {

bool is_one_number(const Layout& layout) {
  const auto strides =
      std::span(layout.strides).first(static_cast<std::size_t>(layout.shape.rank()));
  return std::all_of(strides.begin(), strides.end(), [](std::int64_t s) { return s == 0; });
}

}  // namespace

std::vector<TensorType> RowUpdate::infer(Types in) const {
  const std::size_t results = fn.results().size();
  check_internal(tables.size() == fn.inputs().size(), "an update of rows of ", fn.inputs().size(),
                 " inputs knows ", tables.size());
  const auto others = static_cast<std::size_t>(std::count(tables.begin(), tables.end(), -1));
  check_internal(in.size() == results + 2 + others, "an update of rows got ", in.size(), " inputs");
  const Shape& of_rows = in[results].shape;
  check_internal(of_rows.rank() == 1 && in[results + 1] == TensorType{DType::i64, {}},
                 "an update of rows got numbers ", of_rows);
  std::vector<std::int64_t> sizes(in[0].shape.sizes().begin(), in[0].shape.sizes().end());
  sizes[0] = of_rows[0];
  std::vector<TensorType> values;
  for (std::size_t j = 0, next = results + 2; j < tables.size(); ++j) {
    const bool is_row = tables[j] >= 0;
    const DType dtype = in[is_row ? static_cast<std::size_t>(tables[j]) : next].dtype;
    check_internal(is_row || in[next].shape == Shape(sizes), "an update of rows got ",
                   in[is_row ? 0 : next].shape, " for rows ", Shape(sizes));
    next += is_row ? 0 : 1;
    values.push_back({dtype, Shape(sizes)});
  }
  const std::vector<TensorType> made = Map{fn}.infer(values);
  for (std::size_t r = 0; r < results; ++r)
    check_internal(made[r].dtype == in[r].dtype && in[r].shape == in[0].shape,
                   "an update of rows makes ", made[r].dtype, " for ", to_string(in[r]));
  return {in.begin(), in.begin() + static_cast<std::ptrdiff_t>(results)};
}

std::vector<Expr> RowUpdate::vjp(const Backward& b) const {
  return std::vector<Expr>(static_cast<std::size_t>(b.input_count()));
}

std::string RowUpdate::print() const { return to_string(fn); }

bool RowUpdate::accepts(int input, const Layout& layout) const {
  const auto first = static_cast<int>(fn.results().size()) + 2;
  return layout.is_dense() || (input >= first && is_one_number(layout));
}

// What it moves where it writes in place, if all rows are touched.
Cost RowUpdate::cost(Types in, Types out) const {
  const std::size_t results = out.size();
  const std::int64_t rows = in[results].shape[0];
  const std::int64_t height = std::max<std::int64_t>(1, out[0].shape[0]);
  const double elements = static_cast<double>(out[0].shape.size() / height * rows);
  double instructions = 0;
  for (const ScalarInstr& instr : fn.code()) instructions += arity(instr.op) > 0 ? 1 : 0;
  Cost cost{instructions * elements, static_cast<double>(bytes_of(in[results]))};
  for (const TensorType& table : out)
    cost.bytes += 2 * elements * static_cast<double>(size_of(table.dtype));
  for (std::size_t i = results + 2; i < in.size(); ++i)
    cost.bytes += static_cast<double>(bytes_of(in[i]));
  return cost;
}

}  // namespace blockgrad
