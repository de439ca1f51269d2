// The kernels of the ladder that are compiled: every configuration of cuda_configs(), for operands
// of any layout, and with 16 bytes read at once for row-major A B (registers of 8 x 8, warps, mma),
// A B^T and A^T B (f32 warps, mma).

#include "backends/cuda/products/matmul_kernels.h"

#include <type_traits>

#include "backends/cuda/products/matmul_elements.cuh"
#include "backends/cuda/products/matmul_mma.cuh"
#include "backends/cuda/products/matmul_registers.cuh"
#include "backends/cuda/products/matmul_shared.cuh"
#include "backends/cuda/products/matmul_splits.cuh"
#include "backends/cuda/products/matmul_warps.cuh"
#include "blockgrad/graph/error.h"

namespace blockgrad {

namespace gpu {

// Epilogues other than Plain are for products that are fused with what follows.
template __global__ void matmul_warps<float, Cut<128, 128, 8>, Cut<64, 32, 8>, Reads::along_k,
                                      Reads::along_width>(Product<float>, AddBiasRelu<float>);
template __global__ void matmul_mma<bf16, float, Cut<128, 128, 32>, Cut<64, 32, 32>, 4,
                                    Reads::along_k, Reads::along_width>(Product<bf16, float>,
                                                                        Plain);

}  // namespace gpu

namespace {

using gpu::Cut;
using gpu::Plain;
using gpu::Reads;

constexpr Reads width = Reads::along_width, k = Reads::along_k, any = Reads::one_by_one;
constexpr int stages = 4;

using Large = Cut<128, 128, 8>;
using LargeWarp = Cut<64, 32, 8>;
using Small = Cut<64, 64, 16>;
using SmallWarp = Cut<32, 16, 16>;
using Wide = Cut<64, 64, 8>;  // of f64
using WideWarp = Cut<32, 16, 8>;
using Tiny = Cut<32, 32, 32>;
using TinyWarp = Cut<32, 16, 32>;
using WideHalf = Cut<128, 256, 32>;
using WideHalfWarp = Cut<64, 64, 32>;
using Half = Cut<128, 128, 32>;
using HalfWarp = Cut<64, 32, 32>;
using SmallHalf = Cut<64, 64, 32>;
using SmallHalfWarp = Cut<32, 32, 32>;
using Tf32 = Cut<128, 128, 16>;
using Tf32Warp = Cut<64, 32, 16>;
using SmallTf32 = Cut<64, 64, 16>;
using SmallTf32Warp = Cut<32, 32, 16>;

template <class T>
constexpr DType dtype = sizeof(T) == 8            ? DType::f64
                        : sizeof(T) == 4          ? DType::f32
                        : std::is_same_v<T, bf16> ? DType::bf16
                                                  : DType::f16;

template <class Block>
constexpr gpu::Tile tile{Block::m, Block::n, Block::k};

template <class... Arguments>
const void* address(void (*kernel)(Arguments...)) {
  return reinterpret_cast<const void*>(kernel);
}

template <class T>
MatmulKernel elements() {
  return {CudaKernel::elements,
          dtype<T>,
          CudaMath::exact,
          {8, 16, 1},
          any,
          any,
          address(&gpu::matmul_elements<T, Plain>)};
}

MatmulKernel shared() {
  return {CudaKernel::shared,
          DType::f32,
          CudaMath::exact,
          {32, 32, 32},
          any,
          any,
          address(&gpu::matmul_shared<float, 32, Plain>)};
}

template <class Block, class Thread, Reads a, Reads b>
MatmulKernel registers() {
  return {CudaKernel::registers,
          DType::f32,
          CudaMath::exact,
          tile<Block>,
          a,
          b,
          address(&gpu::matmul_registers<float, Block, Thread, a, b, Plain>)};
}

template <class T, class Block, class Warp, Reads a, Reads b>
MatmulKernel warps() {
  return {CudaKernel::warps,
          dtype<T>,
          CudaMath::exact,
          tile<Block>,
          a,
          b,
          address(&gpu::matmul_warps<T, Block, Warp, a, b, Plain>)};
}

template <class T, class Block, class Warp, Reads a, Reads b>
MatmulKernel mma() {
  return {CudaKernel::mma,
          dtype<T>,
          sizeof(T) == 4 ? CudaMath::tf32 : CudaMath::exact,
          tile<Block>,
          a,
          b,
          address(&gpu::matmul_mma<T, T, Block, Warp, stages, a, b, Plain>)};
}

}  // namespace

std::span<const MatmulKernel> matmul_kernels() {
  static const MatmulKernel all[] = {
      elements<float>(),
      elements<double>(),
      shared(),
      registers<Wide, Cut<8, 1, 1>, any, any>(),
      registers<Large, Cut<8, 8, 1>, k, width>(),
      registers<Large, Cut<8, 8, 1>, any, any>(),
      warps<float, Large, LargeWarp, k, width>(),
      warps<float, Large, LargeWarp, k, k>(),
      warps<float, Large, LargeWarp, width, width>(),
      warps<float, Large, LargeWarp, any, any>(),
      warps<float, Small, SmallWarp, k, width>(),
      warps<float, Small, SmallWarp, k, k>(),
      warps<float, Small, SmallWarp, width, width>(),
      warps<float, Small, SmallWarp, any, any>(),
      warps<double, Wide, WideWarp, k, width>(),
      warps<double, Wide, WideWarp, any, any>(),
      warps<float, Tiny, TinyWarp, k, width>(),
      warps<float, Tiny, TinyWarp, any, any>(),
      mma<bf16, WideHalf, WideHalfWarp, k, width>(),
      mma<bf16, WideHalf, WideHalfWarp, k, k>(),
      mma<bf16, Half, HalfWarp, k, width>(),
      mma<bf16, Half, HalfWarp, k, k>(),
      mma<bf16, Half, HalfWarp, width, width>(),
      mma<bf16, Half, HalfWarp, any, any>(),
      mma<bf16, SmallHalf, SmallHalfWarp, k, width>(),
      mma<bf16, SmallHalf, SmallHalfWarp, any, any>(),
      mma<f16, WideHalf, WideHalfWarp, width, k>(),
      mma<f16, Half, HalfWarp, k, width>(),
      mma<f16, SmallHalf, SmallHalfWarp, k, width>(),
      mma<float, Tf32, Tf32Warp, k, width>(),
      mma<float, Tf32, Tf32Warp, k, k>(),
      mma<float, Tf32, Tf32Warp, width, width>(),
      mma<float, Tf32, Tf32Warp, any, any>(),
      mma<float, SmallTf32, SmallTf32Warp, k, width>(),
      mma<float, SmallTf32, SmallTf32Warp, any, any>(),
  };
  return all;
}

const void* join_splits_kernel(DType dtype) {
  if (dtype == DType::f32) return address(&gpu::join_splits<float, Plain>);
  check_internal(dtype == DType::f64, "no CUDA kernel joins slices of ", name(dtype));
  return address(&gpu::join_splits<double, Plain>);
}

}  // namespace blockgrad
