#pragma once
// The instruction sets that this build and this processor have.

#include <vector>

#include "backends/cpu/isa.h"

namespace test_support {

inline std::vector<blockgrad::Isa> supported_isas() {
  using blockgrad::Isa;
  std::vector<Isa> isas;
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::neon}) {
    if (is_supported(isa)) isas.push_back(isa);
  }
  return isas;
}

}  // namespace test_support
