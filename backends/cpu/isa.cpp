#include "backends/cpu/isa.h"

#include "blockgrad/graph/error.h"

namespace blockgrad {

namespace {
constexpr Isa all_isas[] = {Isa::portable, Isa::avx2, Isa::avx512, Isa::neon};
}  // namespace

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::portable: return "portable";
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
    case Isa::neon: return "neon";
  }
  return "?";
}

Isa parse_isa(std::string_view name) {
  for (const Isa isa : all_isas) {
    if (isa_name(isa) == name) return isa;
  }
  fail({"unknown instruction set '", name, "', expected portable, avx2, avx512 or neon"});
}

bool is_supported(Isa isa) {
  switch (isa) {
    case Isa::portable: return true;
#if defined(__x86_64__)
    // The units are built for the levels x86-64-v3 and -v4, so each level's vector and bit sets
    // count.
    case Isa::avx512:
      if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
          !__builtin_cpu_supports("avx512cd") || !__builtin_cpu_supports("avx512dq") ||
          !__builtin_cpu_supports("avx512vl")) {
        return false;
      }
      [[fallthrough]];
    case Isa::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
             __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    case Isa::neon: return false;
#elif defined(__aarch64__)
    case Isa::neon: return true;
    case Isa::avx2:
    case Isa::avx512: return false;
#else
    case Isa::avx2:
    case Isa::avx512:
    case Isa::neon: return false;
#endif
  }
  return false;
}

Isa best_isa() {
  for (const Isa isa : {Isa::avx512, Isa::avx2, Isa::neon}) {
    if (is_supported(isa)) return isa;
  }
  return Isa::portable;
}

}  // namespace blockgrad
