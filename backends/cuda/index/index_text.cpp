#include "backends/cuda/index/index_text.h"

#include <algorithm>

#include "backends/cuda/kernel_text.h"
#include "backends/cuda/maps/emit.h"

namespace blockgrad {

CudaLaunch index_launch(std::string_view name, std::vector<CudaParameter> parameters,
                        std::string_view body, std::int64_t blocks, bool is_update) {
  CudaLaunch launch;
  launch.blocks = blocks;
  launch.text.name = name;
  launch.text.headers = kernel_headers({"index/sort.cuh", "index/scan.cuh", "index/index.cuh"});
  std::string& text = launch.text.text;
  text = "\nnamespace blockgrad {\nextern \"C\" __global__ void KERNEL(";
  for (const CudaParameter& parameter : parameters) {
    if (!launch.args.empty()) text += ", ";
    text += parameter.text;
    launch.args.push_back(parameter.arg);
  }
  if (is_update) {
    text += cuda_gate_parameters;
    launch.args.push_back({CudaArg::Kind::state, 0, 0});
    launch.args.push_back({CudaArg::Kind::guard, 0, 0});
  }
  text += ") {\n";
  if (is_update) text += cuda_gate;
  text.append("  ").append(body).append("\n}\n}  // namespace blockgrad\n");
  return launch;
}

std::int64_t blocks_for(std::int64_t n, const CudaLimits& limits) {
  constexpr std::int64_t per_processor = 16;
  return std::min((n + 255) / 256, limits.processors * per_processor);
}

std::string_view word_type(DType dtype) {
  switch (size_of(dtype)) {
    case 1: return "unsigned char";
    case 2: return "unsigned short";
    case 4: return "unsigned";
    default: return "long";
  }
}

std::int64_t ScratchBytes::take(std::int64_t bytes) {
  const std::int64_t at = size_;
  size_ = checked_add(size_, checked_add(bytes, 255) / 256 * 256);
  return at;
}

}  // namespace blockgrad
