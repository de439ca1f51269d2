#pragma once
// CUDA text of elementwise programs. Text holds no name, address, offset or outermost extent, so
// equal work has equal text. It is compiled with --fmad=false and includes nothing; values have the
// bits of the CPU's tape (NaN payloads aside). Nothing here needs CUDA.

#include <cstdint>
#include <span>
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

/// "float", "double", "bf16", "long", …, as the prelude names it.
std::string_view cuda_type(DType dtype);

/// One line for each instruction of a program, `const float a0 = …;` with prefix "a" and so on: its
/// results are then a<fn.results()[r]>. Input k is the text inputs[k], flat_index is `position`.
std::string cuda_body(const ScalarFn& fn, std::span<const std::string> inputs,
                      std::string_view prefix, std::string_view position, std::string_view indent);

/// The last two parameters of a kernel that writes storage, and its first line: it does nothing
/// where the step, or an earlier one of the run, found its data wrong or the guard is false.
inline constexpr std::string_view cuda_gate_parameters = ", const long* state, const bool* guard";
inline constexpr std::string_view cuda_gate =
    "  if (state[1] >= 0 || (guard != nullptr && !*guard)) return;\n";

/// What every program starts with: the elementwise functions and the rows of scalar.def.
std::string cuda_prelude();

/// A grid-stride kernel, to follow the prelude: `name(long n, const T* x0, ..., U* y0, ...)` for n
/// positions in row-major order, inputs from the element of position 0 on, results dense. A result
/// may be the memory of an input that is dense and of the same element size. Throws InternalError
/// if the map does not fit together.
std::string cuda_map(const CudaMap& map, std::string_view name = "map");

}  // namespace blockgrad
