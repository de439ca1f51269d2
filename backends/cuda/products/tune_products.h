#pragma once
// The contest of kernels and library algorithms for the products of a plan; see the public
// tune_products. Nothing here needs CUDA but the runtime that is given.

#include "backends/cuda/cuda_executable.h"
#include "backends/cuda/products/product_trial.h"
#include "blockgrad/backends/tune.h"

namespace blockgrad {

/// Times are `now`'s. `products` then has what was measured.
TuneReport tune_cuda_products(const Graph& graph, const Plan& plan, const CudaTarget& target,
                              CudaRuntime& runtime, const CudaProducts& products,
                              const TuneOptions& options, const TuneClock& now);

}  // namespace blockgrad
