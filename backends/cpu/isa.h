#pragma once
// The instruction sets that kernels exist for, and which of them this processor has.

#include <string_view>

namespace blockgrad {

enum class Isa { portable, avx2, avx512, neon };

/// "portable", "avx2", "avx512", "neon".
std::string_view isa_name(Isa isa);

/// The instruction set of that name. Throws Error, listing the names, where there is none.
Isa parse_isa(std::string_view name);

/// True if kernels for `isa` are in this build and this processor and its system can run them.
bool is_supported(Isa isa);

/// The fastest supported instruction set.
Isa best_isa();

}  // namespace blockgrad
