#pragma once
// Sorting on a CUDA device, by the networks of sort.cuh or, for long lines, by a library's radix
// sort (cuda_radix_sort.h), with equal results: of the lines of a value, and of row numbers.

#include "backends/cuda/cuda_work.h"
#include "backends/cuda/index/index_text.h"

namespace blockgrad {

/// Sort: the first places of each line of the last axis.
CudaWork sort_kernel(const CudaRequest& request);

/// What is sorted: lines of keys, read by the first kernel.
struct CudaKeys {
  CudaParameter values;  // "const float* x"
  std::string key;       // of x[i]: "index::key_of(x[i])"
  bool is_wide = false;  // 8 bytes
  std::int64_t lines = 1, n = 0;
  int first_bit = 0, end_bit = 0;  // keys differ in these bits alone; 0: up to the last one

  int last_bit() const { return end_bit == 0 ? (is_wide ? 64 : 32) : end_bit; }
};

/// The type of a key with its place, "index::Narrow" or "index::Wide".
std::string_view entry_type(const CudaKeys& keys);

struct SortedKeys {
  std::int64_t at = 0;  // the byte in scratch where the entries start
  bool by_library = false;
};

/// Adds launches that sort one line of keys into entries in scratch, and how to what `explain`
/// says.
SortedKeys add_sort(CudaWork& kernel, ScratchBytes& scratch, const CudaKeys& keys,
                    const CudaTarget& target);

}  // namespace blockgrad
