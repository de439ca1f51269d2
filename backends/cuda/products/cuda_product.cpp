#include "backends/cuda/products/cuda_product.h"

#include <fmt/format.h>

#include <algorithm>

#include "backends/cuda/kernel_text.h"
#include "backends/cuda/maps/emit.h"
#include "backends/cuda/products/cuda_cost.h"
#include "backends/cuda/products/cuda_epilogue.h"
#include "blockgrad/graph/error.h"

namespace blockgrad {

namespace {

using Kind = CudaArg::Kind;

constexpr int threads_of_join = 256;

std::string_view text_of(gpu::Reads reads) {
  switch (reads) {
    case gpu::Reads::along_width: return "Reads::along_width";
    case gpu::Reads::along_k: return "Reads::along_k";
    case gpu::Reads::one_by_one: return "Reads::one_by_one";
  }
  return "?";
}

std::string text_of(gpu::Tile tile) {
  return fmt::format("Cut<{}, {}, {}>", tile.m, tile.n, tile.k);
}

/// A kernel's parameters with their arguments, and the values that its body makes of them.
class Parameters {
 public:
  explicit Parameters(CudaLaunch& launch) : launch_(launch) {}

  void add(std::string_view type, std::string_view name, const CudaArg& argument) {
    text_ += fmt::format("{}{} {}", text_.empty() ? "" : ", ", type, name);
    launch_.args.push_back(argument);
  }
  void add(std::string_view name, std::int64_t number) {
    add("long", name, {Kind::number, 0, number});
  }
  /// Returns the text of the factor; `element` may be const.
  std::string add(std::string_view name, std::string_view element, const CudaFactor& factor) {
    add(fmt::format("{}*", element), name, factor.memory);
    std::string value = fmt::format("{{{}", name);
    for (const auto& [field, number] : factor.fields) {
      const std::string parameter = fmt::format("{}_{}", name, field);
      add(parameter, number);
      value += ", " + parameter;
    }
    if (!factor.starts.empty()) {
      const std::string parameter = fmt::format("{}_starts", name);
      add("const long*", parameter, {Kind::table, 0, table_bytes()});
      value += ", " + parameter;
      for (const std::int64_t start : factor.starts)
        launch_.table.push_back({Kind::number, 0, start});
    }
    return value + "}";
  }
  /// The whole kernel around its body; `resident` blocks are to fit the registers together.
  std::string kernel(std::string_view body, int threads, int resident, bool is_gated) const {
    return fmt::format(
        "\nnamespace blockgrad {{\nextern \"C\" __global__ void __launch_bounds__({}, {}) "
        "KERNEL({}{}) {{\n{}  using namespace gpu;\n{}}}\n}}  // namespace blockgrad\n",
        threads, resident, text_, is_gated ? cuda_gate_parameters : "", is_gated ? cuda_gate : "",
        body);
  }

 private:
  std::int64_t table_bytes() const { return static_cast<std::int64_t>(launch_.table.size()) * 8; }

  CudaLaunch& launch_;
  std::string text_;
};

/// Where the elements of a product go: to C, which may be the sums of its slices, or through a
/// formula.
struct End {
  const CudaFactor& c;
  DType dtype = DType::f32;  // of C
  const CudaEpilogue* epilogue = nullptr;
  bool is_update = false;
};

/// The arguments of an end, and the texts that they are in.
struct EndText {
  std::string definition;                      // in front of the kernel
  std::string c = "{}", epilogue = "Plain{}";  // the values
  std::string_view type = "Matrix";            // of c

  EndText(Parameters& parameters, const End& end) {
    if (!end.epilogue) {
      type = end.c.type;
      c = parameters.add("c", cuda_type(end.dtype), end.c);
      return;
    }
    const bool is_folded = end.c.type == "Lattice";  // planes of all images lie along a row
    definition = cuda_formula(*end.epilogue);
    epilogue = "KERNEL_formula{{}, ";
    const auto add = [&](std::string_view prefix, std::size_t i, std::string_view constness,
                         const CudaEpilogue::Side& side) {
      const std::string element = fmt::format("{}{}", constness, cuda_type(side.dtype));
      epilogue += parameters.add(fmt::format("{}{}", prefix, i), element, side.factor) + ", ";
    };
    const auto& extras = end.epilogue->extras;
    const auto& results = end.epilogue->results;
    for (std::size_t i = 0; i < extras.size(); ++i) add("x", i + 1, "const ", extras[i]);
    for (std::size_t r = 0; r < results.size(); ++r) add("y", r, "", results[r]);
    if (wants_number(end.epilogue->fn)) epilogue += is_folded ? "m, places" : "m, n";
    epilogue += "}";
    if (!is_folded) return;
    const auto field = [&](std::string_view name) {
      return std::ranges::find(end.c.fields, name, &CudaFactor::Field::name)->value;
    };
    parameters.add("places", field("columns"));
    parameters.add("groups", field("line") / field("batch_stride"));
    epilogue = "OfImages<KERNEL_formula>{{}, " + epilogue + ", places, groups}";
  }
};

constexpr std::string_view common_header = "products/matmul_product.cuh";

std::string_view header_of(CudaKernel kernel) {
  switch (kernel) {
    case CudaKernel::elements: return "products/matmul_elements.cuh";
    case CudaKernel::warps: return "products/matmul_warps.cuh";
    case CudaKernel::mma: return "products/matmul_mma.cuh";
    default: fail_internal({"CUDA has no generated kernel of this rung"});
  }
}

/// `rung` and `images` have the function that the body calls and its operands.
void finish(CudaLaunch& launch, const Parameters& parameters, const End& end, const EndText& text,
            std::string_view body, std::string_view name, std::string_view rung,
            std::string_view images, int resident = 1) {
  launch.text = {
      text.definition + parameters.kernel(body, launch.threads, resident, end.is_update),
      kernel_headers({rung, images, end.epilogue ? "products/matmul_epilogue.cuh" : common_header}),
      name};
  if (end.is_update) {
    launch.args.push_back({Kind::state});
    launch.args.push_back({Kind::guard});
  }
}

/// Whether a factor is read one by one, through registers.
bool is_gathered(const CudaFactor& factor) {
  return factor.type.starts_with("Image") || factor.reads == gpu::Reads::one_by_one;
}

std::string call_of(const CudaConfig& config, const CudaFactor& a, const CudaFactor& b) {
  const std::string block = text_of(config.block), warp = text_of(config.warp);
  switch (config.kernel) {
    case CudaKernel::elements: return fmt::format("multiply_elements<{}>", block);
    case CudaKernel::warps:
      return fmt::format("multiply_warps<{}, {}, {}, {}>", block, warp, text_of(a.reads),
                         text_of(b.reads));
    case CudaKernel::mma:
      return fmt::format("multiply_mma<{}, {}, {}, {}, {}>", block, warp, config.stages,
                         text_of(a.reads), text_of(b.reads));
    default: fail_internal({"CUDA has no generated kernel of this rung"});
  }
}

CudaLaunch tiles(const CudaTile& tile, const CudaFactor& a, const CudaFactor& b, const End& end) {
  CudaLaunch launch;
  launch.blocks = tile.blocks;
  launch.threads = tile.config.threads;
  launch.shared_bytes = static_cast<int>(tile.config.shared_bytes);
  const std::string_view in = cuda_type(tile.product.dtype), out = cuda_type(end.dtype);
  const std::string input = fmt::format("const {}", in);
  Parameters parameters(launch);
  const std::string value_a = parameters.add("a", input, a);
  const std::string value_b = parameters.add("b", input, b);
  const EndText text(parameters, end);
  parameters.add("m", tile.product.m);
  parameters.add("n", tile.product.n);
  parameters.add("k", tile.product.k);
  parameters.add("k_slice", tile.k_slice);
  parameters.add("k_splits", tile.plan.k_splits);
  parameters.add("band", tile.band);
  parameters.add("c_in_packs", end.c.in_packs);
  const std::string body = fmt::format(
      "  const Product<{0}, {1}, {2}<{3}>, {4}<{3}>, {5}<{1}>> p{{\n"
      "      {6}, {7}, {8},\n"
      "      m, n, k, k_slice, static_cast<int>(k_splits), static_cast<int>(band), c_in_packs != "
      "0}};\n"
      "  {9}(p, {10});\n",
      in, out, a.type, input, b.type, text.type, value_a, value_b, text.c,
      call_of(tile.config, a, b), text.epilogue);
  const bool is_mma = tile.config.kernel == CudaKernel::mma;
  const bool of_images = a.type.starts_with("Image") || b.type.starts_with("Image");
  finish(launch, parameters, end, text, body, "product", header_of(tile.config.kernel),
         !of_images ? common_header
         : is_mma   ? "products/matmul_image_mma.cuh"
                    : "products/matmul_image.cuh",
         is_mma ? gpu::mma_blocks(static_cast<int>(size_of(tile.config.dtype)), tile.config.block,
                                  tile.product.is_gathered)
                : 1);
  return launch;
}

CudaLaunch joining(const CudaTile& tile, const CudaFactor& sums, const End& end) {
  const std::int64_t elements = tile.product.batch * tile.product.m * tile.product.n;
  CudaLaunch launch;
  launch.threads = threads_of_join;
  launch.blocks = (elements + launch.threads - 1) / launch.threads;
  const std::string_view sum = cuda_type(tile.product.sum_dtype()), out = cuda_type(end.dtype);
  Parameters parameters(launch);
  parameters.add(fmt::format("const {}*", sum), "sums", sums.memory);
  const EndText text(parameters, end);
  parameters.add("m", tile.product.m);
  parameters.add("n", tile.product.n);
  parameters.add("k_splits", tile.plan.k_splits);
  parameters.add("batches", tile.product.batch);
  const std::string body = fmt::format(
      "  const Product<{0}, {0}, Matrix<const {0}>, Matrix<const {0}>, {1}<{0}>> p{{\n"
      "      {{}}, {{}}, {2}, m, n, 0, 0, static_cast<int>(k_splits), 1, false}};\n"
      "  add_splits(p, sums, batches, {3});\n",
      out, text.type, text.c, text.epilogue);
  finish(launch, parameters, end, text, body, "join_splits", "products/matmul_splits.cuh",
         end.c.type == "Lattice" ? "products/matmul_image.cuh" : common_header);
  return launch;
}

}  // namespace

CudaFactor cuda_matrix(CudaSide side, const CudaArg& memory, DType dtype, const Layout& layout) {
  const auto size = static_cast<std::int64_t>(size_of(dtype));
  const int rank = layout.shape.rank();
  // Along an axis of size 1 nothing steps.
  const auto stride = [&](int axis) {
    return layout.shape[axis] > 1 ? layout.strides[static_cast<std::size_t>(axis)] : 0;
  };
  const auto is_unit = [&](int axis) { return layout.shape[axis] <= 1 || stride(axis) == 1; };
  const std::int64_t row = stride(rank - 2), column = stride(rank - 1);
  bool is_aligned = layout.offset * size % 16 == 0;
  for (int axis = 0; axis < rank - 2; ++axis)
    is_aligned = is_aligned && stride(axis) * size % 16 == 0;

  CudaFactor factor{.type = "Matrix", .memory = memory, .fields = {}};
  factor.memory.offset += layout.offset * size;
  if (side == CudaSide::c) {
    check_internal(is_unit(rank - 1), "the columns of a product do not lie side by side in ",
                   to_string(layout));
    factor.in_packs = is_aligned && row * size % 16 == 0;
    factor.fields = {{"row", row}, {"column", 1}};
  } else {
    factor.fields = {{"row", row}, {"column", column}};
    if (is_aligned && is_unit(rank - 1) && row * size % 16 == 0) {
      factor.reads = side == CudaSide::a ? gpu::Reads::along_k : gpu::Reads::along_width;
    } else if (is_aligned && is_unit(rank - 2) && column * size % 16 == 0) {
      factor.reads = side == CudaSide::a ? gpu::Reads::along_width : gpu::Reads::along_k;
    }
  }

  // Matrices at equal distances have one stride; others a table of where they begin.
  std::int64_t distance = 0, count = 1;
  bool is_even = true;
  for (int axis = rank - 2; axis-- > 0;) {
    if (layout.shape[axis] == 1) continue;
    if (count == 1) distance = stride(axis);
    is_even = is_even && stride(axis) == distance * count;
    count *= layout.shape[axis];
  }
  if (is_even || count == 0) {
    factor.fields.push_back({"batch", distance});
    return factor;
  }
  factor.type = "Matrices";
  factor.starts = {0};
  for (int axis = 0; axis < rank - 2; ++axis) {
    std::vector<std::int64_t> next;
    for (const std::int64_t start : factor.starts) {
      for (std::int64_t i = 0; i < layout.shape[axis]; ++i)
        next.push_back(start + i * stride(axis));
    }
    factor.starts = std::move(next);
  }
  return factor;
}

CudaMath cuda_math(const CudaRequest& request, DType dtype) {
  return dtype == DType::f32 ? request.target.math : CudaMath::exact;
}

void add_product(CudaWork& work, const CudaRequest& request, const CudaProduct& of,
                 const CudaFactor& a, const CudaFactor& b, const CudaFactor& c) {
  CudaProduct product = of;
  product.is_gathered = is_gathered(a) || is_gathered(b);
  CudaTile tile = choose_cuda_tile(product, request.target.limits);
  if (request.epilogue && tile.blocks > 0 && tile.plan.k_splits == 1) {
    product.formula = formula_instructions(request.epilogue->fn);
    tile = choose_cuda_tile(product, request.target.limits);
  }
  if (work.why.empty()) work.why = to_string(tile);
  if (tile.blocks == 0) return;
  const End end{c, product.result_dtype(), request.epilogue, request.is_update};
  if (tile.plan.k_splits == 1) {
    work.launches.push_back(tiles(tile, a, b, end));
    return;
  }
  const DType sum = product.sum_dtype();
  const auto size = static_cast<std::int64_t>(size_of(sum));
  const Shape shape{product.batch, tile.plan.k_splits, product.m, product.n};
  const CudaFactor sums =
      cuda_matrix(CudaSide::c, {.kind = Kind::scratch}, sum, Layout::dense(shape));
  work.scratch = std::max(work.scratch, (shape.size() * size + 255) / 256 * 256);
  work.launches.push_back(tiles(tile, a, b, {sums, sum}));
  work.launches.push_back(joining(tile, sums, end));
}

}  // namespace blockgrad
