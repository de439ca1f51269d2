#pragma once
// Sorting on a CUDA device, by the networks of sort.cuh: of the lines of a value, and of row
// numbers. A seam for other sorts: whoever sorts keys with their places as stably may stand here.

#include "backends/cuda/cuda_work.h"
#include "backends/cuda/index_text.h"

namespace blockgrad {

/// Sort: the first places of each line of the last axis.
CudaWork sort_kernel(const CudaRequest& request);

/// What is sorted: lines of keys, read by the first kernel.
struct CudaKeys {
  CudaParameter values;  // "const float* x"
  std::string key;       // of x[i]: "index::key_of(x[i])"
  bool is_wide = false;  // 8 bytes
  std::int64_t lines = 1, n = 0;
};

/// The type of a key with its place, "index::Narrow" or "index::Wide".
std::string_view entry_type(const CudaKeys& keys);

/// Adds launches that leave the first `count` entries of each sorted line in scratch, line after
/// line; gives the byte where they start.
std::int64_t add_sort(CudaWork& kernel, ScratchBytes& scratch, const CudaKeys& keys,
                      std::int64_t count, const CudaLimits& limits);

}  // namespace blockgrad
