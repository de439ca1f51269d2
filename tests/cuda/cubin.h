#pragma once
// What nvcc made of kernels: the machine code of a cubin, counted by instruction, and what ptxas -v
// says of each kernel. Sources: ELF-64 object file format; of the encoding (16 bytes an
// instruction, the lowest 12 bits its kind, for memory the width in bits 73 to 75) only what
// compute capability 8.0 to 9.0 shows.

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backends/cuda/cuda_work.h"

namespace blockgrad::cubin {

/// Kinds of instructions, by their lowest 12 bits.
enum class Kind : unsigned {
  load_global = 0x981,
  store_global = 0x986,
  load_shared = 0x984,
  store_shared = 0x388,
  load_local = 0x983,
  store_local = 0x387,
  load_matrices = 0x83b,
  copy_async = 0xfae,
  fma_f32 = 0x223,
  fma_f64 = 0x22b,
  tensor_core = 0x23c,
};

struct Kernel {
  std::string name;  // as in the source
  std::int64_t instructions = 0;
  int registers = 0;
  std::int64_t shared = 0;                                 // bytes of its __shared__ variables
  std::int64_t stack = 0, spills = 0;                      // bytes
  std::map<std::pair<Kind, unsigned>, std::int64_t> uses;  // by kind and width

  /// Instructions of a kind; of memory only those that move `bits` per thread, if given.
  std::int64_t count(Kind kind, int bits = 0) const;
};

/// The kernels of a cubin and of the log of its compilation; without a log nothing is known of
/// stack and spills. Throws std::runtime_error for what is not both of one compilation.
std::vector<Kernel> read(const std::string& cubin, std::string_view log = {});

/// What NVRTC makes of these kernels, in their order; none, and the test says so, where it is not.
std::vector<Kernel> compiled(std::span<const CudaText> texts,
                             const std::string& processor = "sm_90a");

}  // namespace blockgrad::cubin
