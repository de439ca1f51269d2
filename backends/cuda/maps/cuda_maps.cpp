#include "backends/cuda/maps/cuda_maps.h"

#include <fmt/format.h>

#include <algorithm>

#include "backends/cuda/maps/emit.h"
#include "blockgrad/graph/map.h"
#include "graph/parts.h"

namespace blockgrad {

namespace {

using Strides = std::vector<std::int64_t>;

constexpr int threads = 256;
constexpr std::int64_t blocks_per_processor = 16;

/// Strides of a dense row-major array; the outermost size does not matter.
Strides dense_strides(const std::vector<std::int64_t>& sizes) {
  Strides strides(sizes.size(), 1);
  for (std::size_t axis = sizes.size(); axis-- > 1;)
    strides[axis - 1] = strides[axis] * sizes[axis];
  return strides;
}

/// Where an operand lies for position `at` with coordinates c0, c1, ...
std::string offset_text(const CudaMap& map, const Strides& strides) {
  if (strides == dense_strides(map.sizes)) return "at";
  std::string text;
  for (std::size_t axis = 0; axis < strides.size(); ++axis) {
    if (strides[axis] == 0) continue;
    if (!text.empty()) text += " + ";
    text += strides[axis] == 1 ? fmt::format("c{}", axis)
                               : fmt::format("c{} * {}", axis, strides[axis]);
  }
  return text.empty() ? "0" : text;
}

/// c0, c1, ...: the coordinates of position `at`.
std::string coordinates_text(const CudaMap& map) {
  std::string text = "    long rest = at;\n";
  for (std::size_t axis = map.sizes.size(); axis-- > 1;) {
    text +=
        fmt::format("    const long c{0} = rest % {1};\n    rest /= {1};\n", axis, map.sizes[axis]);
  }
  if (!map.sizes.empty()) text += "    const long c0 = rest;\n";
  return text;
}

void check(const CudaMap& map) {
  const auto fits = [](bool condition) {
    check_internal(condition, "a map for CUDA does not fit its program");
  };
  const std::size_t inputs = map.fn.inputs().size(), results = map.fn.results().size();
  fits(map.strides.size() == inputs || map.strides.size() == inputs + results);
  for (const Strides& strides : map.strides) fits(strides.size() == map.sizes.size());
  for (std::size_t axis = 1; axis < map.sizes.size(); ++axis) fits(map.sizes[axis] > 0);
  for (const Strides& strides : map.strides) {
    if (map.width > 1 && !strides.empty()) fits(strides.back() == 0 || strides.back() == 1);
  }
}

/// The axes that operands of these layouts have in common, neighbours joined where all step evenly.
struct Axes {
  std::vector<std::int64_t> sizes;
  std::vector<Strides> strides;  // of each operand

  Axes(std::span<const Operand> inputs, std::span<const Operand> outputs) {
    std::vector<const Layout*> layouts;
    for (const auto operands : {inputs, outputs}) {
      for (const Operand& operand : operands) layouts.push_back(&operand.layout);
    }
    strides.resize(layouts.size());
    const Shape& shape = layouts[0]->shape;
    for (int a = 0; a < shape.rank(); ++a) {
      if (shape[a] == 1) continue;
      const auto stride = [&](std::size_t k) {
        return layouts[k]->strides[static_cast<std::size_t>(a)];
      };
      bool joins = !sizes.empty();
      for (std::size_t k = 0; joins && k < layouts.size(); ++k)
        joins = strides[k].back() == stride(k) * shape[a];
      if (joins) sizes.back() *= shape[a];
      else sizes.push_back(shape[a]);
      for (std::size_t k = 0; k < layouts.size(); ++k) {
        if (joins) strides[k].back() = stride(k);
        else strides[k].push_back(stride(k));
      }
    }
  }
};

/// How many elements a thread may take at once: 16 bytes of the widest operand, if all allow it.
int width_of(const Axes& axes, std::span<const Operand> inputs, std::span<const Operand> outputs) {
  if (axes.sizes.empty()) return 1;
  std::int64_t width = 16;
  const auto narrow = [&](std::int64_t multiple) {
    while (multiple % width != 0) width /= 2;
  };
  narrow(axes.sizes.back());
  std::size_t k = 0;
  for (const auto operands : {inputs, outputs}) {
    for (const Operand& operand : operands) {
      const Strides& strides = axes.strides[k++];
      width = std::min<std::int64_t>(width, 16 / static_cast<std::int64_t>(size_of(operand.dtype)));
      if (strides.back() == 0) continue;
      if (strides.back() != 1) return 1;
      for (std::size_t a = 0; a + 1 < strides.size(); ++a) narrow(strides[a]);
      narrow(operand.layout.offset);
    }
  }
  return static_cast<int>(width);
}

std::int64_t offset_bytes(const Operand& operand) {
  return operand.layout.offset * static_cast<std::int64_t>(size_of(operand.dtype));
}

}  // namespace

std::string cuda_map(const CudaMap& map, std::string_view name) {
  check(map);
  const ScalarFn& fn = map.fn;
  const std::size_t inputs = fn.inputs().size(), results = fn.results().size();
  const Strides dense = dense_strides(map.sizes);
  const auto strides = [&](std::size_t k) -> const Strides& {
    return k < map.strides.size() ? map.strides[k] : dense;
  };
  std::string text =
      fmt::format("\nnamespace blockgrad {{\nextern \"C\" __global__ void {}(long n", name);
  for (std::size_t k = 0; k < inputs; ++k)
    text += fmt::format(", const {}* x{}", cuda_type(fn.inputs()[k]), k);
  for (std::size_t k = 0; k < results; ++k)
    text += fmt::format(", {}* y{}", cuda_type(fn.result_dtype(static_cast<int>(k))), k);
  if (map.is_gated) text += cuda_gate_parameters;
  text += ") {\n";
  if (map.is_gated) text += cuda_gate;
  text +=
      "  const long step = static_cast<long>(gridDim.x) * blockDim.x;\n"
      "  for (long i = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) "
      "{\n";
  text += map.width == 1 ? "    const long at = i;\n"
                         : fmt::format("    const long at = i * {};\n", map.width);
  bool is_dense = true;
  for (std::size_t k = 0; k < inputs + results; ++k) is_dense = is_dense && strides(k) == dense;
  if (!is_dense) text += coordinates_text(map);
  std::vector<std::string> elements;
  for (std::size_t k = 0; k < inputs; ++k) {
    const std::string offset = offset_text(map, strides(k));
    if (map.width == 1) {
      elements.push_back(fmt::format("x{}[{}]", k, offset));
    } else if (strides(k).back() == 0) {
      text +=
          fmt::format("    const {0} s{1} = x{1}[{2}];\n", cuda_type(fn.inputs()[k]), k, offset);
      elements.push_back(fmt::format("s{}", k));
    } else {
      text += fmt::format(
          "    const auto p{0} = *reinterpret_cast<const Pack<{1}, {2}>*>(x{0} + {3});\n", k,
          cuda_type(fn.inputs()[k]), map.width, offset);
      elements.push_back(fmt::format("p{}.at[e]", k));
    }
  }
  if (map.width == 1) {
    text += cuda_body(fn, elements, "v", "at", "    ");
    for (std::size_t k = 0; k < results; ++k) {
      text += fmt::format("    y{}[{}] = v{};\n", k, offset_text(map, strides(inputs + k)),
                          fn.results()[k]);
    }
    return text + "  }\n}\n}  // namespace blockgrad\n";
  }
  for (std::size_t k = 0; k < results; ++k) {
    text += fmt::format("    Pack<{}, {}> r{};\n", cuda_type(fn.result_dtype(static_cast<int>(k))),
                        map.width, k);
  }
  text += fmt::format("#pragma unroll\n    for (int e = 0; e < {}; ++e) {{\n", map.width);
  text += cuda_body(fn, elements, "v", "(at + e)", "      ");
  for (std::size_t k = 0; k < results; ++k)
    text += fmt::format("      r{}.at[e] = v{};\n", k, fn.results()[k]);
  text += "    }\n";
  for (std::size_t k = 0; k < results; ++k) {
    text += fmt::format("    *reinterpret_cast<Pack<{0}, {1}>*>(y{2} + {3}) = r{2};\n",
                        cuda_type(fn.result_dtype(static_cast<int>(k))), map.width, k,
                        offset_text(map, strides(inputs + k)));
  }
  return text + "  }\n}\n}  // namespace blockgrad\n";
}

CudaLaunch cuda_map_launch(const CudaRequest& request, const ScalarFn& fn, std::size_t first_in,
                           std::size_t first_out) {
  const auto inputs = request.inputs.subspan(first_in, fn.inputs().size());
  const auto outputs = request.outputs.subspan(first_out, fn.results().size());
  Axes axes(inputs, outputs);
  CudaMap map{fn, std::move(axes.sizes), std::move(axes.strides), 1, request.is_update};
  const std::int64_t elements = outputs[0].layout.shape.size();
  if (elements > 0) map.width = width_of(Axes(inputs, outputs), inputs, outputs);
  CudaLaunch launch;
  launch.threads = threads;
  const std::int64_t packs = elements / map.width;
  launch.blocks = std::min((packs + threads - 1) / threads,
                           blocks_per_processor * request.target.limits.processors);
  if (packs > 0) launch.text.text = cuda_map(map);
  using Kind = CudaArg::Kind;
  launch.args.push_back({Kind::number, 0, packs});
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    launch.args.push_back(
        {Kind::input, static_cast<std::int32_t>(first_in + k), offset_bytes(inputs[k])});
  }
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    launch.args.push_back(
        {Kind::output, static_cast<std::int32_t>(first_out + k), offset_bytes(outputs[k])});
  }
  if (request.is_update) {
    launch.args.push_back({Kind::state});
    launch.args.push_back({Kind::guard});
  }
  return launch;
}

CudaWork map_kernel(const CudaRequest& request) {
  CudaWork work;
  const Map& map = *request.node.op.as<Map>();
  if (is_identity(map) && is_copied_to_itself(request.inputs[0], request.outputs[0])) {
    work.why = "made in place";
    return work;
  }
  work.launches.push_back(cuda_map_launch(request, map.fn, 0, 0));
  const CudaLaunch& launch = work.launches[0];
  work.why = fmt::format("{} blocks of {} threads", launch.blocks, launch.threads);
  return work;
}

}  // namespace blockgrad
