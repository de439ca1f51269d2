#pragma once
// Maps on CUDA: a thread a few neighbouring elements, read and written 16 bytes at once where they
// lie side by side. Nothing here needs CUDA.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "backends/cuda/cuda_work.h"
#include "blockgrad/graph/scalar.h"

namespace blockgrad {

/// A ScalarFn over every position of an iteration space.
struct CudaMap {
  ScalarFn fn;
  std::vector<std::int64_t> sizes;  // outermost first; the first one does not enter the text
  // Of each input, then of each result: one stride an axis, in elements. Results may be left out:
  // they are dense then.
  std::vector<std::vector<std::int64_t>> strides;
  // Elements of a thread, along the last axis, where all operands have stride 1 or 0. Those of
  // stride 1 are aligned to as many elements.
  int width = 1;
  bool is_gated = false;  // see cuda_gate
};

/// A grid-stride kernel: `name(long n, const T* x0, ..., U* y0, ...)` for n times `width` positions
/// in row-major order, operands from the element of position 0 on. A result may be the memory of an
/// input of the same size and layout. Throws InternalError if the map does not fit together.
std::string cuda_map(const CudaMap& map, std::string_view name = "KERNEL");

/// The launch of `fn` over some of a node's operands, from these on; nothing if they are empty.
CudaLaunch cuda_map_launch(const CudaRequest& request, const ScalarFn& fn, std::size_t first_in,
                           std::size_t first_out);

/// Map.
CudaWork map_kernel(const CudaRequest& request);
/// MapGroup: one launch over a table of sets, or, where their layouts differ in kind, one a set.
CudaWork map_group_kernel(const CudaRequest& request);

}  // namespace blockgrad
