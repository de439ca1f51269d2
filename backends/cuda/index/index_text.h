#pragma once
// Launches of the kernels in sort.cuh, scan.cuh and index.cuh, for the makers of the index family.

#include <string>
#include <string_view>
#include <vector>

#include "backends/cuda/cuda_work.h"

namespace blockgrad {

/// A parameter of a kernel and what it is given.
struct CudaParameter {
  std::string text;  // "const float* x"
  CudaArg arg;
};

inline CudaParameter number_parameter(std::string_view name, std::int64_t value) {
  return {"long " + std::string(name), {CudaArg::Kind::number, 0, value}};
}
/// Memory of values of a type: an input, a result, or scratch from a byte on.
inline CudaParameter input_parameter(std::string_view type, std::string_view name, int index) {
  return {"const " + std::string(type) + "* " + std::string(name),
          {CudaArg::Kind::input, index, 0}};
}
inline CudaParameter output_parameter(std::string_view type, std::string_view name, int index = 0) {
  return {std::string(type) + "* " + std::string(name), {CudaArg::Kind::output, index, 0}};
}
inline CudaParameter scratch_parameter(std::string_view type, std::string_view name,
                                       std::int64_t at) {
  return {std::string(type) + "* " + std::string(name), {CudaArg::Kind::scratch, 0, at}};
}

/// A kernel whose body is this text; `name` is a literal. An update asks its guard first.
CudaLaunch index_launch(std::string_view name, std::vector<CudaParameter> parameters,
                        std::string_view body, std::int64_t blocks, bool is_update = false);

/// Blocks of 256 threads for n positions, that go round where there are many.
std::int64_t blocks_for(std::int64_t n, const CudaLimits& limits);

/// The unsigned type of an element's bytes, for what only moves them.
std::string_view word_type(DType dtype);

/// Offsets into a node's scratch.
class ScratchBytes {
 public:
  std::int64_t take(std::int64_t bytes);
  std::int64_t size() const { return size_; }

 private:
  std::int64_t size_ = 0;
};

}  // namespace blockgrad
