#pragma once
// How a product is cut for CUDA: a value that is chosen on the host in one function, checked and
// printed. Nothing here needs CUDA. What is chosen rests on counts (cuda_cost.h); no time has been
// measured.

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "backends/cuda/products/matmul_layout.h"
#include "blockgrad/backends/block_plan.h"
#include "blockgrad/graph/dtype.h"

namespace blockgrad {

/// The rungs of the ladder, in backends/cuda/products/matmul_*.cuh.
enum class CudaKernel { elements, shared, registers, warps, mma };

/// How the numbers of a product are multiplied: as they are, or f32 rounded to TF32.
enum class CudaMath { exact, tf32 };

/// A kernel as it is compiled. `registers` is what a thread takes at most, where operands are
/// read one by one; tests compare it with what ptxas says.
struct CudaConfig {
  CudaKernel kernel = CudaKernel::elements;
  DType dtype = DType::f32;  // of the operands
  CudaMath math = CudaMath::exact;
  gpu::Tile block{};        // of a grid
  gpu::Tile warp{};         // of a block; of a row of threads where warps have no tile
  gpu::Tile instruction{};  // of a thread, or of a tensor core's instruction
  int threads = 0;          // of a block
  int stages = 1;           // of shared memory
  int registers = 0;
  std::int64_t shared_bytes = 0;
  int resident = 1;  // blocks that a processor can hold at once, by registers and shared memory

  bool operator==(const CudaConfig&) const = default;
};

/// All that matmul_kernels.cu compiles.
std::span<const CudaConfig> cuda_configs();

/// A device as far as a cut depends on it. The numbers are those of compute capability 9.0 (CUDA
/// C++ Programming Guide, "Technical Specifications per Compute Capability").
struct CudaLimits {
  int processors = 132;
  std::int64_t shared_bytes = 227 * 1024;  // of a block
  int registers = 65536;                   // of a processor
};

/// C[m, n] = A[m, k] B[k, n], `batch` times.
struct CudaProduct {
  std::int64_t m = 0, n = 0, k = 0, batch = 1;
  DType dtype = DType::f32;  // of A and B
  CudaMath math = CudaMath::exact;
  std::optional<DType> result = {};  // of C, if not that of A and B
  bool is_gathered = false;          // operands are read one by one, which takes registers
  int formula = 0;  // instructions on an element behind the sums: formula_instructions()

  DType result_dtype() const { return result.value_or(dtype); }
  /// What slices of k are summed and joined in.
  DType sum_dtype() const { return dtype == DType::f64 ? DType::f64 : DType::f32; }
};

/// The cut of a product.
struct CudaTile {
  CudaProduct product;
  CudaConfig config;
  BlockPlan plan;            // what the product sees of the config
  std::int64_t k_slice = 0;  // slice s sums k in [s k_slice, min(k, (s + 1) k_slice))
  int band = 8;              // tile rows that blocks walk together, see gpu::place_of
  std::int64_t blocks = 0;   // of the grid

  /// Throws InternalError unless the plan fits together, the slices cover k and none is empty,
  /// the kernel keeps the sums of slices where there are several, and a block's threads, registers
  /// and shared memory and the grid fit the device.
  void verify(const CudaLimits& limits = {}) const;
};

/// The cut for a product, from its shape and the device alone, so that bits do not depend on a run.
/// Throws InternalError for dtypes that no kernel has.
CudaTile choose_cuda_tile(const CudaProduct& product, const CudaLimits& limits = {});

/// "warps f32 exact | m,n,k 256x128x784 | grid 128x128x8 > warp 64x32x8 > ... | 2 blocks of 256
/// threads, ...".
std::string to_string(const CudaTile& tile);

}  // namespace blockgrad
