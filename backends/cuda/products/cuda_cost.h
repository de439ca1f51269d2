#pragma once
// What a cut of a product costs on a device, in clocks, from counts alone: work, bytes and waits of
// a block, and how many blocks a processor takes one after the other. It only has to order cuts.

#include <cstdint>

#include "backends/cuda/products/cuda_tile.h"
#include "blockgrad/graph/scalar.h"

namespace blockgrad {

/// `tiles` blocks for each slice of `k_slice` steps of k, and the sum of the slices' results where
/// there are several.
double cuda_clocks(const CudaConfig& config, const CudaProduct& product, std::int64_t tiles,
                   std::int64_t k_slice, const CudaLimits& limits);

/// That of a cut.
double cuda_clocks(const CudaTile& tile, const CudaLimits& limits);

/// About how many instructions of the device a formula takes for an element; of the elementwise
/// functions as many as counted in machine code for compute capability 9.0.
int formula_instructions(const ScalarFn& fn);

}  // namespace blockgrad
