#pragma once
// The harness's device, with somebody to ask who multiplies.

#include <functional>
#include <memory>

#include "backends/cuda/cuda_runtime.h"
#include "backends/cuda/products/cuda_products.h"
#include "blockgrad/backends/program.h"

namespace test_support {

/// `products` outlives it. They are tuned by this clock.
blockgrad::Device device_with_products(const blockgrad::CudaProducts& products,
                                       std::function<double()> now = nullptr);

}  // namespace test_support
