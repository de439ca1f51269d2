#include "backends/cuda/harness/ladder.h"

#include <cmath>

#include "backends/cuda/harness/cuda_names.h"
#include "backends/cuda/harness/tensor_model.h"

#include "backends/cuda/harness/product_case.h"
#include "backends/cuda/products/matmul_elements.cuh"
#include "backends/cuda/products/matmul_mma.cuh"
#include "backends/cuda/products/matmul_registers.cuh"
#include "backends/cuda/products/matmul_shared.cuh"
#include "backends/cuda/products/matmul_splits.cuh"
#include "backends/cuda/products/matmul_warps.cuh"

namespace blockgrad::harness {

namespace {

using gpu::Cut;
using gpu::Reads;

using Large = Cut<128, 128, 8>;
using LargeWarp = Cut<64, 32, 8>;
using ColumnBlock = Cut<64, 64, 8>;
using Tf32Block = Cut<128, 128, 16>;
using Tf32Warp = Cut<64, 32, 16>;
constexpr int stages = 4;
constexpr Reads width = Reads::along_width, along_k = Reads::along_k, any = Reads::one_by_one;

/// Rows begin at multiples of 16 bytes, so that packs can be read.
ProductShape shape_of(const LadderSize& size) {
  return {.m = size.m, .n = size.n, .k = size.k, .pitch = 4};
}

unsigned parts(long size, int tile) { return static_cast<unsigned>((size + tile - 1) / tile); }

/// Launches, and counts what went wrong.
template <class Kernel>
LadderRun run(ProductCase<float>& c, const Launch& at, const Kernel& kernel) {
  const Counts before = counts();
  launch(at, [&] { kernel(c.product); });
  return {c.wrong(gpu::Plain{}), counts().blocks - before.blocks,
          counts().threads - before.threads};
}

LadderRun run_elements(const LadderSize& size, std::uint64_t seed) {
  ProductCase<float> c(shape_of(size), seed);
  return run(c, {.grid = {parts(size.n, 16), parts(size.m, 8)}, .block = {16, 8}, .seed = seed},
             [](const auto& p) { gpu::matmul_elements<float>(p, gpu::Plain{}); });
}

LadderRun run_shared(const LadderSize& size, std::uint64_t seed) {
  ProductCase<float> c(shape_of(size), seed);
  return run(c,
             {.grid = {parts(size.n, 32), parts(size.m, 32)},
              .block = {32, 32},
              .shared_bytes = sizeof(gpu::SharedTiles<float, 32>),
              .seed = seed},
             [](const auto& p) { gpu::matmul_shared<float, 32>(p, gpu::Plain{}); });
}

template <class Block, class Thread, Reads a, Reads b>
LadderRun run_registers(const LadderSize& size, std::uint64_t seed) {
  ProductCase<float> c(shape_of(size), seed);
  return run(
      c,
      {.grid = line_of_tiles(c.product, 1, Block::m, Block::n),
       .block = {gpu::threads_of<Block, Thread>},
       .shared_bytes = sizeof(gpu::Panels<float, Block>),
       .seed = seed},
      [](const auto& p) { gpu::matmul_registers<float, Block, Thread, a, b>(p, gpu::Plain{}); });
}

void launch_warps(const gpu::Product<float>& p, std::uint64_t seed) {
  launch({.grid = line_of_tiles(p, 1, Large::m, Large::n),
          .block = {32 * gpu::warps_of<Large, LargeWarp>},
          .shared_bytes = sizeof(gpu::TwoPanels<float, Large>),
          .seed = seed},
         [&] { gpu::matmul_warps<float, Large, LargeWarp, along_k, width>(p, gpu::Plain{}); });
}

LadderRun run_warps(const LadderSize& size, std::uint64_t seed) {
  const Counts before = counts();
  ProductCase<float> c(shape_of(size), seed);
  launch_warps(c.product, seed);
  return {c.wrong(gpu::Plain{}), counts().blocks - before.blocks,
          counts().threads - before.threads};
}

/// Two slices of k, and the kernel that joins them.
LadderRun run_splits(const LadderSize& size, std::uint64_t seed) {
  const Counts before = counts();
  ProductShape shape = shape_of(size);
  shape.pitch = 1;
  ProductCase<float> joined(shape, seed);
  shape.pitch = 4;
  shape.k_slice = (size.k + 15) / 16 * 8;
  shape.k_splits = shape.k_slice < size.k ? 2 : 1;
  ProductCase<float> slices(shape, seed);
  launch_warps(slices.product, seed);
  long wrong = slices.wrong(gpu::Plain{});

  const long elements = size.m * size.n;
  Guarded<float> sums(static_cast<std::size_t>(elements * shape.k_splits));
  std::size_t i = 0;
  slices.each([&](long, long slice, long row, long column) {
    sums[i++] = slices.product.c.at(slice, row, column);
  });
  joined.product.k_splits = shape.k_splits;
  launch({.grid = {parts(elements, 256)}, .block = {256}, .seed = seed},
         [&] { gpu::join_splits(joined.product, sums.data(), 1, gpu::Plain{}); });
  joined.each([&](long, long, long row, long column) {
    float sum = slices.sum(0, row, column, 0);
    for (long slice = 1; slice < shape.k_splits; ++slice) sum += slices.sum(0, row, column, slice);
    wrong += joined.product.c.at(0, row, column) != sum;
  });
  joined.check();
  return {wrong, counts().blocks - before.blocks, counts().threads - before.threads};
}

LadderRun run_mma(const LadderSize& size, std::uint64_t seed) {
  const Counts before = counts();
  ProductCase<float> c(shape_of(size), seed);
  launch({.grid = line_of_tiles(c.product, 1, Tf32Block::m, Tf32Block::n),
          .block = {256},
          .shared_bytes = stages * sizeof(gpu::Stage<float, Tf32Block, along_k, width>),
          .seed = seed},
         [&] {
           gpu::matmul_mma<float, float, Tf32Block, Tf32Warp, stages, along_k, width>(c.product,
                                                                                      gpu::Plain{});
         });
  const auto seen = [](float x) {
    return static_cast<double>(detail::bits_float(gpu::to_tf32(detail::float_bits(x))));
  };
  long wrong = 0;
  c.each([&](long, long, long row, long column) {
    double sum = 0, magnitude = 0;
    for (long k = 0; k < size.k; ++k) {
      const double term = seen(c.product.a.at(0, row, k)) * seen(c.product.b.at(0, k, column));
      sum += term;
      magnitude += std::fabs(term);
    }
    const double bound = static_cast<double>(size.k + 1) * 0x1p-24 * magnitude;
    wrong += !(std::fabs(static_cast<double>(c.product.c.at(0, row, column)) - sum) <= bound);
  });
  c.check();
  return {wrong, counts().blocks - before.blocks, counts().threads - before.threads};
}

constexpr Rung rungs[] = {
    {"elements", "a thread computes one element", "grid 8x16 > thread 1x1", "matmul_elements.cuh",
     1, 1, 0, run_elements},
    {"shared", "a block fetches tiles into shared memory together", "grid 32x32x32 > thread 1x1",
     "matmul_shared.cuh", 32, 32, 0, run_shared},
    {"column", "a thread computes 8 elements of a column, from registers",
     "grid 64x64x8 > thread 8x1", "matmul_registers.cuh", 64, 64, 0,
     run_registers<ColumnBlock, Cut<8, 1, 1>, any, any>},
    {"square", "a thread computes 8x8 elements, reading 16 bytes at once",
     "grid 128x128x8 > thread 8x8", "matmul_registers.cuh", 128, 128, 0,
     run_registers<Large, Cut<8, 8, 1>, along_k, width>},
    {"warps", "warps have tiles, and the next step is fetched during this one",
     "grid 128x128x8 > warp 64x32 > thread 8x8", "matmul_warps.cuh", 128, 128, 0, run_warps},
    {"splits", "slices of k are summed apart and joined in order",
     "grid 128x128x8 in slices > warp 64x32 > thread 8x8", "matmul_splits.cuh", 128, 128, 1e-5,
     run_splits},
    {"mma", "tensor cores multiply f32 rounded to TF32",
     "grid 128x128x16 > warp 64x32 > instruction 16x8x8", "matmul_mma.cuh", 128, 128, 1e-3,
     run_mma},
};

}  // namespace

std::span<const Rung> ladder() { return rungs; }

double bytes_read(const Rung& rung, const LadderSize& size) {
  const auto times = [](long extent, long tile) {
    return static_cast<double>((extent + tile - 1) / tile);
  };
  const auto m = static_cast<double>(size.m), n = static_cast<double>(size.n),
             k = static_cast<double>(size.k);
  return 4 * (m * k * times(size.n, rung.tile_n) + k * n * times(size.m, rung.tile_m));
}

}  // namespace blockgrad::harness
