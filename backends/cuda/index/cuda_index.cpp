#include "backends/cuda/index/cuda_index.h"

#include <cstddef>

#include "backends/cuda/index/index_text.h"
#include "backends/cuda/maps/emit.h"
#include "blockgrad/ops/index.h"

namespace blockgrad {

namespace {

/// `fits` is of `value`; `limit` is a long.
CudaWork check_kernel(const CudaRequest& request, std::string_view fits, std::int64_t limit) {
  const DType dtype = request.inputs[0].dtype;
  const std::int64_t count = request.inputs[0].layout.shape.size();
  const std::string type(cuda_type(dtype));
  CudaWork kernel;
  kernel.launches.push_back(index_launch(
      "check",
      {number_parameter("n", count),
       number_parameter("limit", limit),
       input_parameter(type, "x", 0),
       output_parameter(type, "y"),
       {"unsigned long long* slot", {CudaArg::Kind::state, 0, offsetof(CudaState, slot)}}},
      "index::check(n, x, y, slot, [&](" + type + " value) { return " + std::string(fits) + "; });",
      blocks_for(count, request.target.limits)));
  return kernel;
}

/// y and x of the same bytes, element for element; nothing where they are one place.
void add_copy(CudaWork& kernel, const CudaRequest& request) {
  const Operand &x = request.inputs[0], &y = request.outputs[0];
  if (x.place == y.place && x.at == y.at && x.layout.is_dense()) return;
  const std::int64_t n = y.layout.shape.size();
  const std::string word(word_type(y.dtype));
  const std::string is_number = x.layout.is_dense() ? "false" : "true";
  kernel.launches.push_back(index_launch(
      "copy",
      {number_parameter("n", n), input_parameter(word, "x", 0), output_parameter(word, "y")},
      "index::copy<" + is_number + ">(n, x, y);", blocks_for(n, request.target.limits),
      request.is_update));
}

/// Values written to rows of y by number, the last one winning.
struct Written {
  const CudaRequest& request;
  int index, values;  // inputs
  int count = -1;     // the input that says how many; -1: all

  std::int64_t most() const {
    return request.inputs[static_cast<std::size_t>(index)].layout.shape.size();
  }
  std::int64_t height() const { return request.outputs[0].layout.shape[0]; }
  std::int64_t width() const {
    return height() == 0 ? 0 : request.outputs[0].layout.shape.size() / height();
  }
  std::string indices() const {
    return std::string(cuda_type(request.inputs[static_cast<std::size_t>(index)].dtype));
  }

  void launch(CudaWork& kernel, std::string_view name, const std::string& call, std::int64_t n,
              bool is_claim) const {
    const std::string word(word_type(request.outputs[0].dtype));
    std::vector<CudaParameter> parameters = {
        number_parameter("most", most()), number_parameter("height", height()),
        input_parameter(indices(), "i", index), input_parameter(word, "v", values),
        output_parameter(word, "y")};
    if (count >= 0) parameters.push_back(input_parameter("long", "count", count));
    if (is_claim) parameters.push_back(scratch_parameter("long long", "last", 0));
    const std::string to = "index::Written<" + word + ", " + indices() + ">{most, height, " +
                           (count >= 0 ? "count" : "nullptr") + ", i, v, y}";
    kernel.launches.push_back(index_launch(
        name, std::move(parameters), "index::" + call + "(" + to + (is_claim ? ", last);" : ");"),
        blocks_for(n, request.target.limits), request.is_update));
  }

  void add(CudaWork& kernel) const {
    // Positions that the simple way compares; some microseconds.
    constexpr double most_pairs = 1 << 26;
    if (most() == 0 || width() == 0) return;
    const Layout& v = request.inputs[static_cast<std::size_t>(values)].layout;
    const std::string form =
        "<" + std::to_string(width()) + (v.is_dense() ? ", false>" : ", true>");
    const std::int64_t n = checked_multiply(most(), width());
    if (static_cast<double>(n) * static_cast<double>(most()) <= most_pairs)
      return launch(kernel, "put_few", "put_few" + form, n, false);
    launch(kernel, "forget", "forget", most(), true);
    launch(kernel, "claim", "claim", most(), true);
    launch(kernel, "put_last", "put_last" + form, n, true);
    ScratchBytes scratch;
    scratch.take(checked_multiply(height(), 8));
    kernel.scratch = scratch.size();
  }
};

}  // namespace

CudaWork check_index_kernel(const CudaRequest& request) {
  const std::int64_t n = request.node.op.as<CheckIndex>()->n;
  CudaWork kernel = check_kernel(request, "value >= 0 && value < limit", n);
  kernel.why = join({request.inputs[0].layout.shape.size(), " indices below ", n});
  kernel.thing = "index";
  kernel.rule = join({"is out of range [0, ", n, ")"});
  return kernel;
}

CudaWork check_count_kernel(const CudaRequest& request) {
  CudaWork kernel = check_kernel(request, "!(value < limit)", 0);
  kernel.why = join({request.inputs[0].layout.shape.size(), " counts"});
  kernel.thing = "count";
  kernel.rule = "is negative";
  return kernel;
}

CudaWork check_divisor_kernel(const CudaRequest& request) {
  CudaWork kernel = check_kernel(request, "value != limit", 0);
  kernel.why = join({request.inputs[0].layout.shape.size(), " divisors"});
  kernel.thing = "divisor";
  kernel.rule = "is not allowed";
  return kernel;
}

CudaWork gather_kernel(const CudaRequest& request) {
  const Operand &x = request.inputs[0], &i = request.inputs[1];
  const std::int64_t count = i.layout.shape.size(), height = x.layout.shape[0];
  const std::int64_t width = height == 0 ? 0 : x.layout.shape.size() / height;
  const std::string word(word_type(x.dtype));
  CudaWork kernel;
  if (width > 0) {
    kernel.launches.push_back(
        index_launch("gather",
                     {number_parameter("count", count), input_parameter(word, "x", 0),
                      input_parameter(cuda_type(i.dtype), "i", 1), output_parameter(word, "y")},
                     "index::gather<" + std::to_string(width) + ">(count, x, i, y);",
                     blocks_for(checked_multiply(count, width), request.target.limits)));
  }
  kernel.why =
      join({count, " rows of ", width * static_cast<std::int64_t>(size_of(x.dtype)), " bytes"});
  return kernel;
}

CudaWork put_kernel(const CudaRequest& request) {
  CudaWork kernel;
  const Written rows{request, 1, 2};
  add_copy(kernel, request);
  rows.add(kernel);
  kernel.why = join({rows.most(), " rows of ",
                     rows.width() * static_cast<std::int64_t>(size_of(request.outputs[0].dtype)),
                     " bytes, in order"});
  return kernel;
}

CudaWork put_rows_kernel(const CudaRequest& request) {
  CudaWork kernel;
  const Written rows{request, 1, 2, 3};
  add_copy(kernel, request);
  const bool in_place = kernel.launches.empty();
  rows.add(kernel);
  kernel.why = join({rows.most(), " rows of ",
                     rows.width() * static_cast<std::int64_t>(size_of(request.outputs[0].dtype)),
                     " bytes at most, ", in_place ? "in place" : "into a copy"});
  return kernel;
}

}  // namespace blockgrad
