#pragma once
// CUDA text of the elementwise language, for kernels to be made of. It is compiled with
// --fmad=false and includes nothing; values have the bits of the CPU's tape (NaN payloads aside).
// Nothing here needs CUDA.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "blockgrad/graph/scalar.h"

namespace blockgrad {

/// "float", "double", "bf16", "long", …, as the prelude names it.
std::string_view cuda_type(DType dtype);

/// One line for each instruction of a program, `const float a0 = …;` with prefix "a" and so on: its
/// results are then a<fn.results()[r]>. Input k is the text inputs[k], flat_index is `position`.
std::string cuda_body(const ScalarFn& fn, std::span<const std::string> inputs,
                      std::string_view prefix, std::string_view position, std::string_view indent);

/// The text of a kernel under its name, which stands in it as KERNEL.
std::string cuda_named(std::string text, std::string_view name);

/// The last two parameters of a kernel that writes storage, and its first line: it does nothing
/// where the step, or an earlier one of the run, found its data wrong or the guard is false.
inline constexpr std::string_view cuda_gate_parameters = ", const long* state, const bool* guard";
inline constexpr std::string_view cuda_gate =
    "  if (state[1] >= 0 || (guard != nullptr && !*guard)) return;\n";

/// What every program starts with: the elementwise functions, the rows of scalar.def, and Pack, n
/// elements that are moved at once.
std::string cuda_prelude();

}  // namespace blockgrad
