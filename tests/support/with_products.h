#pragma once
// The harness's device, with somebody to ask who multiplies.

#include <memory>

#include "backends/cuda/cuda_products.h"
#include "backends/cuda/cuda_runtime.h"
#include "blockgrad/backends/program.h"

namespace test_support {

/// A runtime on the CPU whose libraries are these; `products` outlives it.
std::shared_ptr<blockgrad::CudaRuntime> runtime_with_products(
    const blockgrad::CudaProducts& products);

blockgrad::Device device_with_products(const blockgrad::CudaProducts& products);

}  // namespace test_support
