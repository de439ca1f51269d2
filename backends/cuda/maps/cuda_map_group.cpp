// MapGroup on CUDA: an optimizer's step over all parameters as one launch. A block takes a stretch
// of one set, which it finds in a table of addresses and first blocks.
#include <fmt/format.h>

#include <algorithm>

#include "backends/cuda/maps/cuda_maps.h"
#include "backends/cuda/maps/emit.h"
#include "graph/map_group.h"

namespace blockgrad {

namespace {

constexpr int threads = 256;

bool is_number(const Operand& operand) {
  const Layout& layout = operand.layout;
  for (int a = 0; a < layout.shape.rank(); ++a) {
    if (layout.shape[a] != 1 && layout.strides[static_cast<std::size_t>(a)] != 0) return false;
  }
  return true;
}

/// What the kernel reads: per input, whether it is one number in every set.
struct Form {
  std::vector<char> is_number;
  bool fits = true;
};

Form form_of(const CudaRequest& request, const ScalarFn& fn) {
  const std::size_t inputs = fn.inputs().size();
  Form form;
  for (std::size_t k = 0; k < inputs; ++k) {
    bool numbers = true, dense = true;
    for (std::size_t i = k; i < request.inputs.size(); i += inputs) {
      numbers = numbers && is_number(request.inputs[i]);
      dense = dense && request.inputs[i].layout.is_dense();
    }
    form.is_number.push_back(static_cast<char>(numbers));
    form.fits = form.fits && (numbers || dense);
  }
  for (const Operand& out : request.outputs) form.fits = form.fits && out.layout.is_dense();
  return form;
}

int width_of(const ScalarFn& fn) {
  std::size_t widest = 1;
  for (const DType dtype : fn.inputs()) widest = std::max(widest, size_of(dtype));
  for (std::size_t r = 0; r < fn.results().size(); ++r)
    widest = std::max(widest, size_of(fn.result_dtype(static_cast<int>(r))));
  return static_cast<int>(16 / widest);
}

/// `at`, and the elements of a stretch: read, computed and written one by one or as packs.
std::string elements_text(const ScalarFn& fn, const Form& form, int width) {
  std::vector<std::string> elements;
  std::string text;
  for (std::size_t k = 0; k < fn.inputs().size(); ++k) {
    if (form.is_number[k]) {
      elements.push_back(fmt::format("s{}", k));
    } else if (width == 1) {
      elements.push_back(fmt::format("x{}[at]", k));
    } else {
      elements.push_back(fmt::format("p{}.at[e]", k));
      text += fmt::format(
          "    const auto p{0} = *reinterpret_cast<const Pack<{1}, {2}>*>(x{0} + first);\n", k,
          cuda_type(fn.inputs()[k]), width);
    }
  }
  for (std::size_t r = 0; width > 1 && r < fn.results().size(); ++r) {
    text += fmt::format("    Pack<{}, {}> r{};\n", cuda_type(fn.result_dtype(static_cast<int>(r))),
                        width, r);
  }
  text += width == 1 ? "    for (long at = first; at < n; ++at) {\n"
                     : fmt::format(
                           "#pragma unroll\n    for (int e = 0; e < {}; ++e) {{\n"
                           "      const long at = first + e;\n",
                           width);
  text += cuda_body(fn, elements, "v", "at", "      ");
  for (std::size_t r = 0; r < fn.results().size(); ++r) {
    text += width == 1 ? fmt::format("      y{}[at] = v{};\n", r, fn.results()[r])
                       : fmt::format("      r{}.at[e] = v{};\n", r, fn.results()[r]);
  }
  text += "    }\n";
  for (std::size_t r = 0; width > 1 && r < fn.results().size(); ++r) {
    text += fmt::format("    *reinterpret_cast<Pack<{}, {}>*>(y{} + first) = r{};\n",
                        cuda_type(fn.result_dtype(static_cast<int>(r))), width, r, r);
  }
  return text;
}

std::string group_text(const ScalarFn& fn, const Form& form, bool is_gated) {
  const std::size_t inputs = fn.inputs().size(), results = fn.results().size();
  const std::size_t row = 2 + inputs + results;
  const int width = width_of(fn);
  std::string text =
      "\nnamespace blockgrad {\nextern \"C\" __global__ void KERNEL(const long* table, long sets";
  if (is_gated) text += cuda_gate_parameters;
  text += ") {\n";
  if (is_gated) text += cuda_gate;
  text += fmt::format(
      "  const long block = static_cast<long>(blockIdx.x);\n"
      "  long low = 0, high = sets - 1;\n"
      "  while (low < high) {{\n"
      "    const long middle = (low + high + 1) / 2;\n"
      "    if (table[middle * {0}] <= block) low = middle;\n"
      "    else high = middle - 1;\n"
      "  }}\n"
      "  const long* set = table + low * {0};\n"
      "  const long n = set[1];\n",
      row);
  for (std::size_t k = 0; k < inputs; ++k) {
    text += fmt::format("  const auto x{0} = reinterpret_cast<const {1}*>(set[{2}]);\n", k,
                        cuda_type(fn.inputs()[k]), 2 + k);
    if (form.is_number[k])
      text += fmt::format("  const {0} s{1} = *x{1};\n", cuda_type(fn.inputs()[k]), k);
  }
  for (std::size_t r = 0; r < results; ++r) {
    text += fmt::format("  const auto y{0} = reinterpret_cast<{1}*>(set[{2}]);\n", r,
                        cuda_type(fn.result_dtype(static_cast<int>(r))), 2 + inputs + r);
  }
  text += fmt::format(
      "  const long first = ((block - set[0]) * {} + static_cast<long>(threadIdx.x)) * {};\n"
      "  if (first + {} <= n) {{\n{}  }} else {{\n{}  }}\n}}\n}}  // namespace blockgrad\n",
      threads, width, width, elements_text(fn, form, width), elements_text(fn, form, 1));
  return text;
}

std::int64_t offset_bytes(const Operand& operand) {
  return operand.layout.offset * static_cast<std::int64_t>(size_of(operand.dtype));
}

}  // namespace

CudaWork map_group_kernel(const CudaRequest& request) {
  const ScalarFn& fn = request.node.op.as<MapGroup>()->fn;
  const std::size_t inputs = fn.inputs().size(), results = fn.results().size();
  const std::size_t sets = request.inputs.size() / inputs;
  const Form form = form_of(request, fn);
  CudaWork work;
  if (!form.fits) {
    for (std::size_t s = 0; s < sets; ++s)
      work.launches.push_back(cuda_map_launch(request, fn, s * inputs, s * results));
    work.why = fmt::format("{} sets, a launch each", sets);
    return work;
  }
  using Kind = CudaArg::Kind;
  CudaLaunch launch;
  launch.text = {group_text(fn, form, request.is_update), {}, "map_group"};
  launch.threads = threads;
  launch.blocks = 0;
  const std::int64_t stretch = threads * width_of(fn);
  for (std::size_t s = 0; s < sets; ++s) {
    const std::int64_t n = request.outputs[s * results].layout.shape.size();
    if (n == 0) continue;
    launch.table.push_back({Kind::number, 0, launch.blocks});
    launch.table.push_back({Kind::number, 0, n});
    for (std::size_t k = s * inputs; k < (s + 1) * inputs; ++k) {
      launch.table.push_back(
          {Kind::input, static_cast<std::int32_t>(k), offset_bytes(request.inputs[k])});
    }
    for (std::size_t r = s * results; r < (s + 1) * results; ++r)
      launch.table.push_back({Kind::output, static_cast<std::int32_t>(r), 0});
    launch.blocks += (n + stretch - 1) / stretch;
  }
  const auto row = static_cast<std::int64_t>(2 + inputs + results);
  launch.args = {{Kind::table},
                 {Kind::number, 0, static_cast<std::int64_t>(launch.table.size()) / row}};
  if (request.is_update) {
    launch.args.push_back({Kind::state});
    launch.args.push_back({Kind::guard});
  }
  work.why = fmt::format("{} sets in one launch, {} blocks of {} threads", sets, launch.blocks,
                         launch.threads);
  work.launches.push_back(std::move(launch));
  return work;
}

}  // namespace blockgrad
