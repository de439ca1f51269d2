#pragma once
// The options under which a program of the CPU gives the bits that it gives without.

#include <string>
#include <vector>

#include "blockgrad/backends/program.h"
#include "tests/support/instruction_sets.h"

namespace test_support {

/// Threads, the instruction sets that are here, and memory that is not used again.
inline std::vector<blockgrad::CompileOptions> equal_bits_options() {
  std::vector<blockgrad::CompileOptions> all;
  for (const int threads : {1, 2, 3, 7}) all.push_back({.threads = threads});
  for (const blockgrad::Isa isa : supported_isas())
    all.push_back({.isa = std::string(isa_name(isa))});
  all.push_back({.reuse_memory = false});
  return all;
}

}  // namespace test_support
