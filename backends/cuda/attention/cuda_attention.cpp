#include "backends/cuda/attention/cuda_attention.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "backends/cuda/kernel_text.h"
#include "backends/cuda/maps/emit.h"
#include "backends/cuda/products/cuda_product.h"
#include "blockgrad/ops/attention.h"

namespace blockgrad {

namespace {

using Kind = CudaArg::Kind;

constexpr std::int64_t tile = 64;  // rows of the Cuts in attention*.cuh

std::int64_t up_to_16(std::int64_t n) { return std::max<std::int64_t>(16, (n + 15) / 16 * 16); }

struct Problem {
  const CudaRequest& request;
  bool is_causal = false;
  double scale = 1;
  std::size_t mask = 0;  // its input, if there are so many

  const Shape& shape(int input) const {
    return request.inputs[static_cast<std::size_t>(input)].layout.shape;
  }
  DType dtype() const { return request.inputs[0].dtype; }                 // of q, k, v and dy
  DType wide() const { return is_half(dtype()) ? DType::f32 : dtype(); }  // in which all is added
  std::int64_t queries() const { return shape(0)[shape(0).rank() - 2]; }
  std::int64_t keys() const { return shape(2)[shape(2).rank() - 2]; }
  std::int64_t depth() const { return shape(0)[shape(0).rank() - 1]; }
  std::int64_t value_depth() const { return shape(2)[shape(2).rank() - 1]; }
  std::int64_t batches() const {
    std::int64_t count = 1;
    for (int axis = 0; axis < shape(0).rank() - 2; ++axis) count *= shape(0)[axis];
    return count;
  }
  /// What registers have room for; more is done by fused multiply-adds.
  bool is_for_tensor_cores() const {
    return is_half(dtype()) && depth() <= 128 && value_depth() <= 128;
  }
  bool has_mask() const { return request.inputs.size() > mask; }

  std::string scale_text() const {
    if (!std::isfinite(scale)) {
      return wide() == DType::f32
                 ? fmt::format("math::from_bits({:#x}u)",
                               std::bit_cast<std::uint32_t>(static_cast<float>(scale)))
                 : fmt::format("math::from_bits({:#x}ul)", std::bit_cast<std::uint64_t>(scale));
    }
    return fmt::format("static_cast<T>({:a})", scale);
  }
};

enum class Work { forward, of_queries, of_keys };

/// How the blocks of a launch work, see attention::Cut and attention::HalfCut.
struct Cut {
  std::int64_t parts = 1;  // blocks that share the columns of a tile's results
  std::int64_t others = tile;
  int threads = 128;
  std::int64_t shared_bytes = 0;
  std::string call, sizes;  // a function of attention*.cuh, and what stands in its Cut
  std::string_view header;  // where the function is

  Cut(const Problem& problem, Work work) {
    if (problem.is_for_tensor_cores()) use_tensor_cores(problem, work);
    else use_fma(problem, work);
  }

 private:
  // What a thread sums up stays in registers: where it is much, threads are more.
  void use_fma(const Problem& problem, Work work) {
    const std::int64_t width = work == Work::forward ? problem.value_depth()
                               : work == Work::of_queries
                                   ? problem.depth()
                                   : std::max(problem.depth(), problem.value_depth());
    const auto size = static_cast<std::int64_t>(size_of(problem.wide())), pack = 16 / size;
    const std::int64_t most = 512 / size;
    parts = std::max<std::int64_t>(1, (width + most - 1) / most);
    const std::int64_t columns = up_to_16((width + parts - 1) / parts);
    threads = size == 8 || (work != Work::forward && columns > 64) ? 256 : 128;
    const std::int64_t weights = work == Work::of_keys ? 2 : 1;
    shared_bytes = (2 * tile * (8 * pack + pack) + weights * tile * (tile + pack)) * size;
    sizes = fmt::format("Cut<T, {}, {}", columns, threads);
    call = work == Work::forward      ? "forward"
           : work == Work::of_queries ? "gradient_of_queries"
                                      : "gradient_of_keys";
    header = work == Work::forward ? "attention/attention.cuh" : "attention/attention_gradient.cuh";
  }

  void use_tensor_cores(const Problem& problem, Work work) {
    const std::int64_t depth = up_to_16(problem.depth()),
                       value_depth = up_to_16(problem.value_depth());
    if (work == Work::of_keys && std::max(depth, value_depth) > 64) others = 32;
    constexpr std::int64_t size = 2, pad = 8;
    const std::int64_t both = depth + value_depth + 2 * pad;
    shared_bytes = work == Work::forward ? (tile * (depth + pad) + others * both) * size
                                         : (tile + 2 * others) * both * size +
                                               2 * 2 * others * std::int64_t{sizeof(float)};
    sizes = fmt::format("HalfCut<{}, {}, {}, {}", cuda_type(problem.dtype()), depth, value_depth,
                        others);
    call = work == Work::forward ? "forward_of_halves" : "gradient_of_halves";
    header = "attention/attention_halves.cuh";
  }
};

/// A kernel in the making.
class Launch {
 public:
  Launch(const Problem& problem, const Cut& cut) : problem_(problem), cut_(cut) {
    launch_.threads = cut.threads;
    launch_.shared_bytes = static_cast<int>(cut.shared_bytes);
    line(fmt::format("using T = {};", cuda_type(problem.wide())));
    const std::string_view element = cuda_type(problem.dtype());
    std::string types, values;
    for (const auto& [name, input] : {std::pair("q", 0), {"k", 1}, {"v", 2}}) {
      const auto [type, value] = matrix_read(name, element, static_cast<std::size_t>(input));
      types += type + ", ";
      values += value + ", ";
    }
    add_mask(types, values);
    for (const auto& [name, number] : {std::pair("queries", problem.queries()),
                                       {"keys", problem.keys()},
                                       {"depth", problem.depth()},
                                       {"value_depth", problem.value_depth()},
                                       {"parts", cut.parts}}) {
      add("long", name, {Kind::number, 0, number});
      values += fmt::format("{}, ", name);
    }
    line(fmt::format("const attention::Problem<T, {}, {}> p{{{}{}}};", problem.is_causal, types,
                     values, problem.scale_text()));
  }

  void add(std::string_view type, std::string_view name, const CudaArg& argument) {
    parameters_ += fmt::format("{}{} {}", parameters_.empty() ? "" : ", ", type, name);
    launch_.args.push_back(argument);
  }
  /// A dense result.
  void add_result(std::string_view name, int output) {
    add(fmt::format("{}*", cuda_type(problem_.wide())), name, {Kind::output, output});
  }
  /// One of matrices.
  void add_matrices(std::string_view name, int output) {
    const Operand& y = problem_.request.outputs[static_cast<std::size_t>(output)];
    const CudaFactor factor = cuda_matrix(CudaSide::c, {Kind::output, output}, y.dtype, y.layout);
    const std::string data = fmt::format("{}_data", name);
    const auto [type, value] = matrix(data, cuda_type(y.dtype), factor);
    line(fmt::format("const {} {}{};", type, name, value));
  }
  /// What the gradients read beside q, k and v.
  void add_slopes() {
    const auto [type, value] = matrix_read("dy", cuda_type(problem_.dtype()), 3);
    const std::string pointer = fmt::format("const {}*", cuda_type(problem_.wide()));
    add(pointer, "lse", start_of(4));
    add(pointer, "delta", start_of(5));
    line(fmt::format("const attention::Slopes<T, {}> of{{{}, lse, delta}};", type, value));
  }

  /// Adds the launch to the work; `rows` are those that blocks own. `flag` follows the Cut.
  void finish(CudaWork& work, std::int64_t rows, std::string_view name, std::string_view arguments,
              std::string_view flag = "") {
    launch_.blocks = checked_multiply(
        checked_multiply(problem_.batches(), (rows + tile - 1) / tile), cut_.parts);
    const bool in_packs =
        in_packs_ && (problem_.is_for_tensor_cores() || !is_half(problem_.dtype()));
    line(fmt::format("attention::{}<attention::{}, {}>{}>(p, {});", cut_.call, cut_.sizes, in_packs,
                     flag, arguments));
    launch_.text = {
        fmt::format("\nnamespace blockgrad {{\nextern \"C\" __global__ void "
                    "__launch_bounds__({}, {}) KERNEL({}) {{\n  using namespace gpu;\n{}}}\n"
                    "}}  // namespace blockgrad\n",
                    cut_.threads, 256 / cut_.threads, parameters_, body_),
        kernel_headers({cut_.header}), name};
    work.launches.push_back(std::move(launch_));
  }

 private:
  void line(std::string_view text) { body_ += fmt::format("  {}\n", text); }

  CudaArg start_of(std::size_t input) const {
    const Operand& x = problem_.request.inputs[input];
    return {Kind::input, static_cast<std::int32_t>(input),
            x.layout.offset * static_cast<std::int64_t>(size_of(x.dtype))};
  }

  /// An input, see matrix().
  std::pair<std::string, std::string> matrix_read(std::string_view name, std::string_view element,
                                                  std::size_t input) {
    const Operand& x = problem_.request.inputs[input];
    const CudaFactor factor = cuda_matrix(
        CudaSide::a, {Kind::input, static_cast<std::int32_t>(input)}, x.dtype, x.layout);
    const std::int64_t width = x.layout.shape[x.layout.shape.rank() - 1];
    if (x.dtype == problem_.dtype() && input != problem_.mask) {
      in_packs_ = in_packs_ && factor.reads == gpu::Reads::along_k &&
                  width * static_cast<std::int64_t>(size_of(x.dtype)) % 16 == 0;
    }
    return matrix(name, fmt::format("const {}", element), factor);
  }

  /// An operand as Matrix or Matrices, with its parameters: type and value.
  std::pair<std::string, std::string> matrix(std::string_view name, std::string_view element,
                                             const CudaFactor& factor) {
    add(fmt::format("{}*", element), name, factor.memory);
    std::string value = fmt::format("{{{}", name);
    for (const auto& [field, number] : factor.fields) {
      const std::string parameter = fmt::format("{}_{}", name, field);
      add("long", parameter, {Kind::number, 0, number});
      value += ", " + parameter;
    }
    if (!factor.starts.empty()) {
      const std::string parameter = fmt::format("{}_starts", name);
      add("const long*", parameter,
          {Kind::table, 0, static_cast<std::int64_t>(launch_.table.size()) * 8});
      value += ", " + parameter;
      for (const std::int64_t start : factor.starts)
        launch_.table.push_back({Kind::number, 0, start});
    }
    return {fmt::format("{}<{}>", factor.type, element), value + "}"};
  }

  void add_mask(std::string& types, std::string& values) {
    if (!problem_.has_mask()) {
      types += "attention::NoMask";
      values += "{}, ";
      return;
    }
    const DType of_mask = problem_.request.inputs[problem_.mask].dtype;
    const bool is_bool = of_mask == DType::boolean;
    const auto [type, value] = matrix_read("mask", cuda_type(of_mask), problem_.mask);
    types += fmt::format("attention::{}<{}>", is_bool ? "Allowed" : "Added", type);
    values += fmt::format("{{{}}}, ", value);
  }

  const Problem& problem_;
  const Cut& cut_;
  bool in_packs_ = true;
  std::string parameters_, body_;
  CudaLaunch launch_;
};

std::string text_of(const Cut& cut) {
  return fmt::format("{}{}{} threads, {} KiB shared",
                     cut.others == tile ? "" : fmt::format("{} others at a time, ", cut.others),
                     cut.parts == 1 ? "" : fmt::format("columns in {} parts, ", cut.parts),
                     cut.threads, (cut.shared_bytes + 1023) / 1024);
}

std::string tiles_text(const Problem& problem) {
  return fmt::format("{}tiles of {} queries and {} keys{}",
                     problem.is_for_tensor_cores() ? "tensor cores, " : "", tile, tile,
                     problem.is_causal ? ", those not seen left out" : "");
}

}  // namespace

CudaWork attention_kernel(const CudaRequest& request) {
  const auto& op = *request.node.op.as<Attention>();
  const Problem problem{request, op.causal, op.scale.value, 3};
  CudaWork work;
  const Cut cut(problem, Work::forward);
  Launch launch(problem, cut);
  launch.add_matrices("y", 0);
  launch.add_result("lse", 1);
  launch.finish(work, problem.queries(), "attention", "y, lse");
  work.why = fmt::format("{}, {}", tiles_text(problem), text_of(cut));
  return work;
}

CudaWork attention_gradient_kernel(const CudaRequest& request) {
  const auto& op = *request.node.op.as<AttentionGradient>();
  const Problem problem{request, op.causal, op.scale.value, 6};
  const bool is_for_tensor_cores = problem.is_for_tensor_cores();
  CudaWork work;
  const Cut of_queries(problem, Work::of_queries);
  Launch queries(problem, of_queries);
  queries.add_slopes();
  queries.add_matrices("dq", 0);
  if (is_for_tensor_cores)
    queries.finish(work, problem.queries(), "attention_dq", "of, dq, nullptr", ", false");
  else queries.finish(work, problem.queries(), "attention_dq", "of, dq");
  const Cut of_keys(problem, Work::of_keys);
  Launch keys(problem, of_keys);
  keys.add_slopes();
  keys.add_matrices("dk", 1);
  keys.add_matrices("dv", 2);
  keys.finish(work, problem.keys(), "attention_dkv", "of, dk, dv",
              is_for_tensor_cores ? ", true" : "");
  work.why = fmt::format("{}, dq: {}; dk and dv: {}", tiles_text(problem), text_of(of_queries),
                         text_of(of_keys));
  return work;
}

}  // namespace blockgrad
