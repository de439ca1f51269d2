#include "backends/cuda/index/cuda_scan.h"

#include "backends/cuda/index/cuda_sorts.h"
#include "backends/cuda/index/index_text.h"
#include "backends/cuda/maps/emit.h"
#include "blockgrad/ops/order.h"

namespace blockgrad {

namespace {

/// By a library, a launch a line. In own kernels one thread carries sums over the blocks of a line,
/// so few long lines leave the others without work. Integers add up to the same in any order;
/// floats do not, and the order of a look-back scan is decided by which blocks are done first.
CudaWork library_scan(const CudaRequest& request, const CudaSorts& sorts, std::int64_t lines,
                      std::int64_t n) {
  const DType dtype = request.inputs[0].dtype;
  IntegerLine line{.n = n, .reverse = request.node.op.as<Scan>()->reverse};
  if (dtype == DType::u8) line.kind = IntegerLine::Kind::u8;
  if (dtype == DType::i32) line.kind = IntegerLine::Kind::i32;
  CudaWork kernel;
  ScratchBytes scratch;
  const CudaArg workspace{CudaArg::Kind::scratch, 0, scratch.take(CudaSorts::sum_bytes(n))};
  for (std::int64_t i = 0; i < lines; ++i) {
    const std::int64_t in = i * n * static_cast<std::int64_t>(size_of(dtype));
    kernel.launches.push_back(sorts.add_up(line, {CudaArg::Kind::input, 0, in},
                                           {CudaArg::Kind::output, 0, 8 * i * n}, workspace));
  }
  kernel.scratch = scratch.size();
  kernel.why = join({lines, " lines of ", n, "; by ", sorts.name(), "'s scan, a line at a time"});
  return kernel;
}

}  // namespace

CudaWork scan_kernel(const CudaRequest& request) {
  constexpr std::int64_t block = 256;  // as in scan.cuh
  const Scan& op = *request.node.op.as<Scan>();
  const Shape& x = request.inputs[0].layout.shape;
  CudaWork kernel;
  if (x.size() == 0) {
    kernel.why = join({0, " lines of ", x[op.axis]});
    return kernel;
  }
  std::int64_t outer = 1;
  for (int a = 0; a < op.axis; ++a) outer *= x[a];
  const std::int64_t n = x[op.axis], inner = x.size() / (outer * n);
  const std::int64_t blocks = (n + block - 1) / block;
  constexpr std::int64_t few_lines = 8, many_blocks = 256;
  const CudaSorts* sorts = request.target.libraries.sorts;
  if (sorts != nullptr && inner == 1 && outer <= few_lines && blocks > many_blocks &&
      n <= CudaSorts::most && !is_floating(request.outputs[0].dtype))
    return library_scan(request, *sorts, outer, n);
  const std::string sum(cuda_type(request.outputs[0].dtype));
  const auto size = static_cast<std::int64_t>(size_of(request.outputs[0].dtype));
  const std::string shape = op.reverse ? "{outer, n, inner, true}" : "{outer, n, inner, false}";
  const std::vector<CudaParameter> sizes = {
      number_parameter("outer", outer), number_parameter("n", n), number_parameter("inner", inner)};
  const CudaParameter in = input_parameter(cuda_type(request.inputs[0].dtype), "x", 0);
  const std::int64_t grid = blocks_for(outer * blocks * inner, request.target.limits);
  const bool is_dense = inner == 1;
  // A launch of a thread a block of a line.
  const auto launch = [&](std::string_view name, const std::vector<CudaParameter>& parameters,
                          const std::string& dense, const std::string& strided) {
    if (!is_dense)
      return index_launch(name, parameters,
                          "index::" + std::string(name) + "<" + sum + ">(" + shape + strided, grid);
    CudaLaunch made =
        index_launch(name, parameters, "index::scan_dense<" + sum + ">(" + shape + dense, grid);
    made.threads = size == 8 ? 128 : 256;
    made.shared_bytes = made.threads * (33 * static_cast<int>(size) + 16);  // as in scan.cuh
    return made;
  };
  const auto with = [&](std::initializer_list<CudaParameter> more) {
    std::vector<CudaParameter> all = sizes;
    all.insert(all.end(), more);
    return all;
  };
  std::string carries = "nullptr";
  std::vector<CudaParameter> last = with({in});
  if (blocks > 1) {
    kernel.scratch = checked_multiply(checked_multiply(outer * blocks, inner), size);
    kernel.scratch = (kernel.scratch + 255) / 256 * 256;
    const CudaParameter totals = scratch_parameter(sum, "totals", 0);
    kernel.launches.push_back(launch("scan_totals", with({in, totals}),
                                     ", x, totals, nullptr, nullptr);", ", x, totals);"));
    kernel.launches.push_back(
        index_launch("scan_carries",
                     {number_parameter("outer", outer), number_parameter("blocks", blocks),
                      number_parameter("inner", inner), totals},
                     "index::scan_carries(outer, blocks, inner, totals);",
                     blocks_for(outer * inner, request.target.limits)));
    last.push_back(scratch_parameter("const " + sum, "carries", 0));
    carries = "carries";
  }
  last.push_back(output_parameter(sum, "y"));
  kernel.launches.push_back(
      launch("scan_sums", last, ", x, nullptr, " + carries + ", y);", ", x, " + carries + ", y);"));
  const bool is_ordered = sorts != nullptr && is_floating(request.outputs[0].dtype);
  kernel.why = join({outer * inner, " lines of ", n,
                     is_ordered ? "; by own kernels, as a library's order of additions of floats "
                                  "differs from run to run"
                                : ""});
  return kernel;
}

}  // namespace blockgrad
