#include "backends/cuda/products/cuda_epilogue.h"

#include <fmt/format.h>

#include <algorithm>

#include "backends/cuda/maps/cuda_maps.h"
#include "backends/cuda/maps/emit.h"
#include "backends/product_space.h"
#include "blockgrad/graph/error.h"
#include "graph/product_map.h"

namespace blockgrad {

namespace {

using Kind = CudaArg::Kind;

/// Whether elements can be moved four at a time, from any multiple of four columns on.
bool is_in_packs(const Layout& rows) {
  constexpr std::int64_t pack = 4;
  const int last = rows.shape.rank() - 1;
  if (rows.strides[static_cast<std::size_t>(last)] != 1 || rows.offset % pack != 0) return false;
  for (int axis = 0; axis < last; ++axis) {
    if (rows.shape[axis] > 1 && rows.strides[static_cast<std::size_t>(axis)] % pack != 0)
      return false;
  }
  return true;
}

/// The operand with rows as the product makes them.
Operand in_rows(Operand operand, const Shape& space) {
  Layout rows;
  check_internal(compose(Layout::dense(space), operand.layout, rows), "an epilogue's operand ",
                 to_string(operand.layout), " has no rows of ", space);
  operand.layout = rows;
  return operand;
}

CudaEpilogue::Side side(const Operand& operand, const CudaArg& memory) {
  const Layout& rows = operand.layout;
  CudaEpilogue::Side side{cuda_matrix(CudaSide::a, memory, operand.dtype, rows), operand.dtype};
  const int last = rows.shape.rank() - 1;
  side.is_one_a_row = rows.shape[last] > 1 && rows.strides[static_cast<std::size_t>(last)] == 0;
  side.factor.in_packs = is_in_packs(rows);
  return side;
}

}  // namespace

bool wants_number(const ScalarFn& fn) {
  return std::any_of(fn.code().begin(), fn.code().end(),
                     [](const ScalarInstr& i) { return i.op == ScalarOp::flat_index; });
}

std::string cuda_formula(const CudaEpilogue& epilogue) {
  std::string members, reads, strips, writes, values;
  std::vector<std::string> inputs{"sums[j]"};
  for (std::size_t i = 0; i < epilogue.extras.size(); ++i) {
    const auto& [factor, dtype, is_one_a_row] = epilogue.extras[i];
    members += fmt::format("  gpu::{}<const {}> x{};\n", factor.type, cuda_type(dtype), i + 1);
    const std::string x = fmt::format("x{}", i + 1);
    if (is_one_a_row) {
      reads += fmt::format("    const {} {}_row = {}.at(batch, row, 0);\n", cuda_type(dtype), x, x);
      inputs.push_back(x + "_row");
    } else {
      reads += fmt::format(
          "    const auto {0}_strip = gpu::read_strip<size, {1}>({0}, batch, row, column, "
          "count);\n",
          x, factor.in_packs);
      inputs.push_back(x + "_strip.value[j]");
    }
  }
  for (std::size_t r = 0; r < epilogue.results.size(); ++r) {
    const CudaEpilogue::Side& result = epilogue.results[r];
    members += fmt::format("  gpu::{}<{}> y{};\n", result.factor.type, cuda_type(result.dtype), r);
    strips += fmt::format("    gpu::Strip<{}, size> y{}_strip;\n", cuda_type(result.dtype), r);
    values += fmt::format("      y{}_strip.value[j] = v{};\n", r, epilogue.fn.results()[r]);
    writes += fmt::format("    gpu::write_strip<{}>(y{}, batch, row, column, count, y{}_strip);\n",
                          result.factor.in_packs, r, r);
  }
  if (wants_number(epilogue.fn)) members += "  long m, n;\n";
  return fmt::format(
      "\nnamespace blockgrad {{\nstruct KERNEL_formula : gpu::PutsItself {{\n{}\n"
      "  template <class T, int size>\n"
      "  __device__ __forceinline__ void put(long batch, long row, long column, long left,\n"
      "                                      const T (&sums)[size]) const {{\n"
      "    const int count = left < size ? static_cast<int>(left) : size;\n{}{}"
      "#pragma unroll\n    for (int j = 0; j < size; ++j) {{\n      if (j >= count) continue;\n"
      "{}{}    }}\n{}  }}\n}};\n}}  // namespace blockgrad\n",
      members, reads, strips,
      cuda_body(epilogue.fn, inputs, "v", "((batch * m + row) * n + column + j)", "      "), values,
      writes);
}

CudaLaunch formula_apart(const CudaEpilogue& epilogue, const CudaArg& raw,
                         const CudaTarget& target) {
  const GraphNode map{Map{epilogue.fn}, {}, {}, {}};
  CudaLaunch launch =
      cuda_map_launch({map, epilogue.inputs, epilogue.outputs, false, target}, epilogue.fn, 0, 0);
  for (CudaArg& arg : launch.args) {
    if (arg.kind != Kind::input) continue;
    if (arg.index == 0) arg = {raw.kind, raw.index, raw.offset + arg.offset};
    else arg.index += static_cast<std::int32_t>(ProductMap::operands) - 1;
  }
  return launch;
}

CudaWork product_map_kernel(const CudaRequest& request) {
  const ProductMap& op = *request.node.op.as<ProductMap>();
  constexpr std::size_t own = ProductMap::operands;
  std::vector<TensorType> in;
  for (const Operand& operand : request.inputs.first(own))
    in.push_back({operand.dtype, operand.layout.shape});
  const std::vector<TensorType> raw = op.product->infer(in);
  const std::optional<Shape> space = product_space(op.product, in, raw);
  check_internal(space.has_value(), "no product's elements are made by ", op.product->name());
  const Operand c{Place::arena, -1, raw[0].dtype, Layout::dense(raw[0].shape)};
  CudaEpilogue epilogue{op.fn, {}, {}, {in_rows(c, *space)}, {}};
  for (std::size_t i = own; i < request.inputs.size(); ++i) {
    epilogue.inputs.push_back(in_rows(request.inputs[i], *space));
    epilogue.extras.push_back(
        side(epilogue.inputs.back(), {Kind::input, static_cast<std::int32_t>(i)}));
  }
  for (std::size_t r = 0; r < request.outputs.size(); ++r) {
    epilogue.outputs.push_back(in_rows(request.outputs[r], *space));
    epilogue.results.push_back(
        side(epilogue.outputs.back(), {Kind::output, static_cast<std::int32_t>(r)}));
  }
  const GraphNode product{op.product, {}, {}, request.node.origin};
  CudaRequest own_request{
      product, request.inputs.first(own), {&c, 1}, request.is_update, request.target};
  own_request.epilogue = &epilogue;
  CudaWork work = cuda_maker(op.product)(own_request);
  work.why += fmt::format(", {} instructions on its elements", op.fn.code().size());
  return work;
}

}  // namespace blockgrad
