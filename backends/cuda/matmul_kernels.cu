// The kernels of the ladder that are compiled: every configuration of cuda_configs(), for the
// layouts that read 16 bytes at once (as A B, A B^T and A^T B of row-major matrices) and for any.

#include "backends/cuda/matmul_elements.cuh"
#include "backends/cuda/matmul_mma.cuh"
#include "backends/cuda/matmul_registers.cuh"
#include "backends/cuda/matmul_shared.cuh"
#include "backends/cuda/matmul_splits.cuh"
#include "backends/cuda/matmul_warps.cuh"

namespace blockgrad::gpu {

namespace {

constexpr Reads width = Reads::along_width, k = Reads::along_k, any = Reads::one_by_one;
constexpr Tile large{128, 128, 8}, large_warp{64, 32, 8};
constexpr Tile small{64, 64, 16}, small_warp{32, 16, 16};
constexpr Tile wide{64, 64, 8}, wide_warp{32, 16, 8};  // of f64
constexpr Tile bf16_block{128, 128, 32}, bf16_warp{64, 32, 32};
constexpr Tile tf32_block{128, 128, 16}, tf32_warp{64, 32, 16};
constexpr Tile column{8, 1, 1}, square{8, 8, 1};
constexpr int stages = 4;

using F32 = Product<float>;
using F64 = Product<double>;
using HalfToF32 = Product<bf16, float>;
using Half = Product<bf16, bf16>;

}  // namespace

template __global__ void matmul_elements(F32, Plain);
template __global__ void matmul_elements(F64, Plain);
template __global__ void matmul_shared<float, 32>(F32, Plain);
template __global__ void matmul_registers<float, wide, column, any, any>(F32, Plain);
template __global__ void matmul_registers<float, large, square, k, width>(F32, Plain);
template __global__ void matmul_registers<float, large, square, any, any>(F32, Plain);

template __global__ void matmul_warps<float, large, large_warp, k, width>(F32, Plain);
template __global__ void matmul_warps<float, large, large_warp, k, k>(F32, Plain);
template __global__ void matmul_warps<float, large, large_warp, width, width>(F32, Plain);
template __global__ void matmul_warps<float, large, large_warp, any, any>(F32, Plain);
template __global__ void matmul_warps<float, small, small_warp, k, width>(F32, Plain);
template __global__ void matmul_warps<float, small, small_warp, k, k>(F32, Plain);
template __global__ void matmul_warps<float, small, small_warp, width, width>(F32, Plain);
template __global__ void matmul_warps<float, small, small_warp, any, any>(F32, Plain);
template __global__ void matmul_warps<double, wide, wide_warp, k, width>(F64, Plain);
template __global__ void matmul_warps<double, wide, wide_warp, any, any>(F64, Plain);

template __global__ void matmul_warps<float, large, large_warp, k, width>(F32, AddBiasRelu<float>);

template __global__ void matmul_mma<bf16, float, bf16_block, bf16_warp, stages, k, width>(HalfToF32,
                                                                                          Plain);
template __global__ void matmul_mma<bf16, bf16, bf16_block, bf16_warp, stages, k, width>(Half,
                                                                                         Plain);
template __global__ void matmul_mma<bf16, bf16, bf16_block, bf16_warp, stages, k, k>(Half, Plain);
template __global__ void matmul_mma<bf16, bf16, bf16_block, bf16_warp, stages, width, width>(Half,
                                                                                             Plain);
template __global__ void matmul_mma<bf16, bf16, bf16_block, bf16_warp, stages, any, any>(Half,
                                                                                         Plain);
template __global__ void matmul_mma<float, float, tf32_block, tf32_warp, stages, k, width>(F32,
                                                                                           Plain);
template __global__ void matmul_mma<float, float, tf32_block, tf32_warp, stages, k, k>(F32, Plain);
template __global__ void matmul_mma<float, float, tf32_block, tf32_warp, stages, width, width>(
    F32, Plain);
template __global__ void matmul_mma<float, float, tf32_block, tf32_warp, stages, any, any>(F32,
                                                                                           Plain);

template __global__ void join_splits(F32, const float*, long, Plain);
template __global__ void join_splits(F64, const double*, long, Plain);

}  // namespace blockgrad::gpu
