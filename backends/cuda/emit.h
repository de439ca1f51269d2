#pragma once
// CUDA text of elementwise programs. Text holds no name, address, offset or outermost extent, so
// equal work has equal text. It is compiled with --fmad=false and includes nothing; values have the
// bits of the CPU's tape (NaN payloads aside). Nothing here needs CUDA.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "blockgrad/graph/scalar.h"

namespace blockgrad {

/// A ScalarFn over every position of an iteration space, with each input read through strides.
struct CudaMap {
  static constexpr int max_axes = 8;

  ScalarFn fn;
  std::vector<std::int64_t> sizes;  // outermost first; the first one does not enter the text
  std::vector<std::vector<std::int64_t>> strides;  // of each input, one an axis, in elements
};

/// What every program starts with: the elementwise functions and the rows of scalar.def.
std::string cuda_prelude();

/// A grid-stride kernel, to follow the prelude: `name(long n, const T* x0, ..., U* y0, ...)` for n
/// positions in row-major order, inputs from the element of position 0 on, results dense. A result
/// may be the memory of an input that is dense and of the same element size. Throws InternalError
/// if the map does not fit together.
std::string cuda_map(const CudaMap& map, std::string_view name = "map");

}  // namespace blockgrad
