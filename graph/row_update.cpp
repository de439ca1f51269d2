#include "graph/row_update.h"

#include <algorithm>
#include <limits>

#include "blockgrad/graph/put_rows.h"

namespace blockgrad {

namespace {

bool is_one_number(const Layout& layout) {
  const auto strides =
      std::span(layout.strides).first(static_cast<std::size_t>(layout.shape.rank()));
  return std::all_of(strides.begin(), strides.end(), [](std::int64_t s) { return s == 0; });
}

double instructions(const ScalarFn& fn) {
  return static_cast<double>(
      std::count_if(fn.code().begin(), fn.code().end(),
                    [](const ScalarInstr& instr) { return arity(instr.op) > 0; }));
}

}  // namespace

std::vector<TensorType> RowOrder::infer(Types in) const {
  const Shape& i = in[0].shape;
  check_internal(i.rank() == 1 && most <= i[0] && i[0] <= std::numeric_limits<std::int32_t>::max(),
                 "an order of ", most, " rows among ", i);
  return {{in[0].dtype, {most}}, {DType::i32, i}, {DType::i32, {most + 1}}, {DType::i64, {}}};
}

bool RowUpdate::has_sums() const {
  return std::find(tables.begin(), tables.end(), sums) != tables.end();
}

std::vector<TensorType> RowUpdate::infer(Types in) const {
  const std::size_t results = fn.results().size();
  check_internal(tables.size() == fn.inputs().size(), "an update of rows of ", fn.inputs().size(),
                 " inputs knows ", tables.size());
  std::size_t others = 0;
  for (const std::int32_t table : tables)
    others += table == sums ? term_count() : table == values ? 1 : 0;
  check_internal(in.size() == first_value() + others, "an update of rows got ", in.size(),
                 " inputs");
  const Shape& of_rows = in[results].shape;
  check_internal(of_rows.rank() == 1 && in[results + 1] == TensorType{DType::i64, {}},
                 "an update of rows got numbers ", of_rows);
  std::vector<std::int64_t> sizes(in[0].shape.sizes().begin(), in[0].shape.sizes().end());
  sizes[0] = of_rows[0];
  std::vector<TensorType> read;
  std::size_t next = first_value();
  for (const std::int32_t table : tables) {
    if (table == sums && terms) {
      const std::int64_t positions = in[results + 2].shape.size();
      for (std::size_t t = 0; t < term_count(); ++t) {
        const std::int64_t elements = in[next++].shape.size();
        check_internal(elements == positions || elements == positions * inner,
                       "an update of rows of ", inner, " adds up ", positions, " of ", elements);
      }
      read.push_back({terms->result_dtype(0), Shape(sizes)});
      continue;
    }
    const TensorType& source = in[table >= 0 ? static_cast<std::size_t>(table) : next++];
    std::vector<std::int64_t> own(source.shape.sizes().begin(), source.shape.sizes().end());
    if (table != values && !own.empty()) own[0] = sizes[0];
    check_internal(own == sizes, "an update of rows ", Shape(sizes), " got ", source.shape);
    read.push_back({source.dtype, Shape(sizes)});
  }
  const std::vector<TensorType> made = Map{fn}.infer(read);
  for (std::size_t r = 0; r < results; ++r)
    check_internal(made[r].dtype == in[r].dtype && in[r].shape == in[0].shape,
                   "an update of rows makes ", made[r].dtype, " for ", to_string(in[r]));
  return {in.begin(), in.begin() + static_cast<std::ptrdiff_t>(results)};
}

std::vector<Expr> RowUpdate::vjp(const Backward& b) const {
  return std::vector<Expr>(static_cast<std::size_t>(b.input_count()));
}

std::string RowUpdate::print() const {
  return terms ? join({to_string(fn), "adds up\n", to_string(*terms)}) : to_string(fn);
}

// Any elements that are not whole rows are a number each.
bool RowUpdate::accepts(int input, const Layout& layout) const {
  if (layout.is_dense()) return true;
  auto next = static_cast<int>(first_value());
  if (input < next) return false;
  for (const std::int32_t table : tables) {
    if (table == sums && terms) {
      next += static_cast<int>(term_count());
      const std::int64_t rows = layout.shape.size() / inner;
      if (input < next)
        return layout.shape.size() != rows * inner || row_layout(layout, rows, inner).has_value();
    } else if (table < 0 && next++ == input) {
      return table == values && is_one_number(layout);
    }
  }
  return false;
}

// What it moves where it writes in place, if all rows are touched.
Cost RowUpdate::cost(Types in, Types out) const {
  const std::size_t results = out.size();
  const std::int64_t rows = in[results].shape[0];
  const std::int64_t height = std::max<std::int64_t>(1, out[0].shape[0]);
  const double elements = static_cast<double>(out[0].shape.size() / height * rows);
  Cost cost{instructions(fn) * elements, static_cast<double>(bytes_of(in[results]))};
  if (has_sums()) {
    const double added =
        static_cast<double>(out[0].shape.size() / height * in[results + 2].shape.size());
    cost.flops += (terms ? 1 + instructions(*terms) : 1) * added;
  }
  for (const TensorType& table : out)
    cost.bytes += 2 * elements * static_cast<double>(size_of(table.dtype));
  for (std::size_t i = results + 2; i < in.size(); ++i)
    cost.bytes += static_cast<double>(bytes_of(in[i]));
  return cost;
}

std::optional<RowLayout> row_layout(const Layout& layout, std::int64_t rows, std::int64_t inner) {
  const Shape& shape = layout.shape;
  const std::span strides(layout.strides);
  if (is_one_number(layout) && !layout.is_dense()) {
    RowLayout one{{Shape{rows}, {}, layout.offset}, true};
    one.rows.strides[0] = 0;
    return one;
  }
  if (shape.size() == rows && inner != 1) return RowLayout{layout, true};
  if (shape.size() != rows * inner) return std::nullopt;
  int axes = shape.rank();
  std::int64_t within = 1;
  bool is_row = true, is_number = true;
  while (within < inner) {
    --axes;
    const std::int64_t stride = strides[static_cast<std::size_t>(axes)];
    is_row = is_row && (shape[axes] == 1 || stride == within);
    is_number = is_number && (shape[axes] == 1 || stride == 0);
    within *= shape[axes];
  }
  if (within != inner || (!is_row && !is_number)) return std::nullopt;
  RowLayout found{{Shape(shape.sizes().first(static_cast<std::size_t>(axes))), {}, layout.offset},
                  !is_row};
  std::copy_n(strides.begin(), axes, found.rows.strides.begin());
  return found;
}

bool replaces_rows(const GraphNode& node) {
  return node.op.as<PutRows>() || node.op.as<RowUpdate>();
}

bool replaces_rows_of(const Graph& graph, Value result, Value whole) {
  const std::vector<Value>& inputs = graph.node(result).inputs;
  const auto reads =
      std::count_if(inputs.begin(), inputs.end(), [&](Value v) { return graph.base(v) == whole; });
  return inputs[static_cast<std::size_t>(result.result)] == whole && reads == 1;
}

}  // namespace blockgrad
