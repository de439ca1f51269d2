#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <set>
#include <string>
#include <tuple>

#include "backends/cuda/harness/cuda_names.h"
#include "backends/cuda/harness/tensor_model.h"

#include "backends/cuda/products/cuda_tile.h"
#include "backends/cuda/products/matmul_mma.cuh"
#include "backends/cuda/products/matmul_registers.cuh"
#include "backends/cuda/products/matmul_shared.cuh"
#include "backends/cuda/products/matmul_warps.cuh"
#include "blockgrad/graph/error.h"

using namespace blockgrad;
using gpu::Tile;

namespace {

const CudaProduct products[] = {
    {.m = 1, .n = 1, .k = 1},
    {.m = 0, .n = 5, .k = 3},
    {.m = 7, .n = 9, .k = 0},
    {.m = 32, .n = 10, .k = 128},
    {.m = 100, .n = 300, .k = 5000},
    {.m = 768, .n = 768, .k = 65536},
    {.m = 1024, .n = 3072, .k = 768},
    {.m = 8192, .n = 8192, .k = 8192},
    {.m = 513, .n = 1025, .k = 777, .batch = 12},
    {.m = 129, .n = 127, .k = 513, .batch = 3},
};

/// The product in every dtype and math that has a kernel.
template <class Visit>
void in_every_math(CudaProduct product, const Visit& visit) {
  const std::tuple<DType, CudaMath> kinds[] = {{DType::f32, CudaMath::exact},
                                               {DType::f64, CudaMath::exact},
                                               {DType::bf16, CudaMath::exact},
                                               {DType::f16, CudaMath::exact},
                                               {DType::f32, CudaMath::tf32}};
  for (const auto& [dtype, math] : kinds) {
    product.dtype = dtype;
    product.math = math;
    visit(choose_cuda_tile(product));
  }
}

std::string refusal(const CudaTile& tile, const CudaLimits& limits = {}) {
  try {
    tile.verify(limits);
  } catch (const InternalError& error) {
    return error.what();
  }
  return "";
}

bool begins(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_tile)

BOOST_AUTO_TEST_CASE(blocks_work_on_every_tile_slice_and_matrix_once) {
  for (const CudaProduct& product : products)
    in_every_math(product, [](const CudaTile& tile) {
      const CudaProduct& p = tile.product;
      const Tile block = tile.config.block;
      if (tile.blocks > 20000) return;
      std::set<std::tuple<long, long, long, long>> seen;
      for (long i = 0; i < tile.blocks; ++i) {
        const gpu::Place at = gpu::place_of(i, p.m, p.n, block, tile.plan.k_splits, tile.band);
        const bool is_inside = at.row % block.m == 0 && at.row < p.m && at.column % block.n == 0 &&
                               at.column < p.n && at.slice < tile.plan.k_splits &&
                               at.batch < p.batch;
        if (!is_inside || !seen.insert({at.row, at.column, at.slice, at.batch}).second)
          BOOST_ERROR(to_string(tile) << ": block " << i);
      }
      const long rows = (p.m + block.m - 1) / block.m, columns = (p.n + block.n - 1) / block.n;
      BOOST_TEST(static_cast<long>(seen.size()) == rows * columns * tile.plan.k_splits * p.batch);
    });
}

BOOST_AUTO_TEST_CASE(slices_cover_k_in_whole_steps) {
  for (const CudaProduct& product : products)
    in_every_math(product, [](const CudaTile& tile) {
      BOOST_TEST(tile.k_slice % tile.config.block.k == 0);
      BOOST_TEST(tile.k_slice * tile.plan.k_splits >= tile.plan.k);
      BOOST_TEST(refusal(tile) == "");
    });
}

BOOST_AUTO_TEST_CASE(a_long_sum_with_few_tiles_is_cut_for_all_processors) {
  const CudaTile tile = choose_cuda_tile({.m = 768, .n = 768, .k = 65536});
  BOOST_TEST(to_string(tile) ==
             "warps f32 | m,n,k 768x768x65536 | grid 128x128x8 > warp 64x32x8 > instruction 8x8x1 "
             "| k in order, 11 splits | why: 36 tiles for 132 processors | 396 blocks of 256 "
             "threads, 168 registers, 2 stages, 16896 bytes of shared memory");
}

BOOST_AUTO_TEST_CASE(processors_are_filled_by_slices_or_by_small_tiles) {
  // The share of the processors' time in which they have a block.
  const auto fill = [](const CudaProduct& product) {
    const CudaTile tile = choose_cuda_tile(product);
    const auto rounds = (tile.blocks + 131) / 132;
    return static_cast<double>(tile.blocks) / static_cast<double>(132 * rounds);
  };
  BOOST_TEST(fill({.m = 768, .n = 768, .k = 65536}) == 1.0);
  for (const DType dtype : {DType::bf16, DType::f64})
    BOOST_TEST(fill({.m = 768, .n = 768, .k = 65536, .dtype = dtype}) > 0.9);
  BOOST_TEST(fill({.m = 768, .n = 3072, .k = 65536, .dtype = DType::bf16}) > 0.9);
  BOOST_TEST(fill({.m = 256, .n = 128, .k = 784}) > 0.9);
  BOOST_TEST(fill({.m = 100, .n = 300, .k = 5000, .math = CudaMath::tf32}) > 0.9);
  // A short sum stays one chain.
  BOOST_TEST(choose_cuda_tile({.m = 64, .n = 64, .k = 383}).plan.k_splits == 1);
}

BOOST_AUTO_TEST_CASE(slices_are_summed_apart_where_kernels_keep_their_sums) {
  CudaTile tile = choose_cuda_tile({.m = 8, .n = 8, .k = 64});
  tile.plan.k_splits = 2;
  tile.k_slice = 32;
  BOOST_TEST(begins(refusal(tile), "2 slices of k, whose sums the elements kernel of f32"));
  const CudaProduct half{.m = 8, .n = 8, .k = 4096, .dtype = DType::f16};
  BOOST_TEST((half.result_dtype() == DType::f16 && half.sum_dtype() == DType::f32));
  BOOST_TEST(choose_cuda_tile(half).plan.k_splits > 1);
}

BOOST_AUTO_TEST_CASE(the_kernel_follows_from_the_shape) {
  const auto block = [](const CudaProduct& product) {
    return choose_cuda_tile(product).config.block;
  };
  BOOST_TEST((block({.m = 8192, .n = 8192, .k = 8192}) == Tile{128, 128, 8}));
  BOOST_TEST((block({.m = 640, .n = 640, .k = 64}) == Tile{64, 64, 16}));
  BOOST_TEST((block({.m = 256, .n = 256, .k = 64}) == Tile{32, 32, 32}));
  BOOST_TEST((block({.m = 32, .n = 10, .k = 128}) == Tile{8, 16, 1}));
  BOOST_TEST((block({.m = 32, .n = 10, .k = 129}) == Tile{32, 32, 32}));
  CudaProduct half{.m = 8192, .n = 8192, .k = 8192, .dtype = DType::bf16};
  BOOST_TEST((block(half) == Tile{128, 256, 32}));
  CudaProduct with_formula = half;
  with_formula.formula = 100;
  BOOST_TEST((block(with_formula) == Tile{128, 256, 32}));
  with_formula.formula = 101;  // its text would be too long
  BOOST_TEST((block(with_formula) == Tile{128, 128, 32}));
  half.is_gathered = true;
  BOOST_TEST((block(half) == Tile{128, 128, 32}));
  BOOST_TEST((block({.m = 512, .n = 512, .k = 64, .dtype = DType::bf16}) == Tile{64, 64, 32}));
}

BOOST_AUTO_TEST_CASE(a_product_without_a_kernel_is_refused) {
  BOOST_CHECK_EXCEPTION(choose_cuda_tile({.m = 1, .n = 1, .k = 1, .dtype = DType::i32}),
                        InternalError, [](const InternalError& error) {
                          return begins(error.what(), "no CUDA kernel multiplies i32");
                        });
}

BOOST_AUTO_TEST_CASE(a_cut_that_does_not_fit_is_refused) {
  const CudaTile tile = choose_cuda_tile({.m = 300, .n = 300, .k = 4096});
  CudaTile changed = tile;
  changed.k_slice /= 2;
  BOOST_TEST(begins(refusal(changed), "do not cover k 4096 with none empty"));
  changed = tile;
  changed.k_slice *= 2;
  BOOST_TEST(begins(refusal(changed), "do not cover k 4096 with none empty"));
  changed = tile;
  changed.blocks += 1;
  BOOST_TEST(begins(refusal(changed), "a grid of"));
  changed = tile;
  changed.band = 0;
  BOOST_TEST(begins(refusal(changed), "256 threads in bands of 0"));
  BOOST_TEST(begins(refusal(tile, {.shared_bytes = 1024}), "there are 1024"));
  BOOST_TEST(begins(refusal(tile, {.registers = 32 * 256}), "there are 8192"));
}

BOOST_AUTO_TEST_CASE(a_grid_that_no_launch_takes_is_refused) {
  const CudaTile most = choose_cuda_tile({.m = 4, .n = 4, .k = 4, .batch = 65535});
  BOOST_TEST((most.config.kernel == CudaKernel::elements));
  CudaTile tile = choose_cuda_tile({.m = 4, .n = 4, .k = 4, .batch = 100000});
  BOOST_TEST((tile.config.kernel == CudaKernel::warps));  // all blocks along x
  BOOST_TEST(tile.blocks == 100000);
  tile = most;
  tile.blocks = tile.product.batch = 65536;
  BOOST_TEST(begins(refusal(tile), "a grid of 1 x 1 x 65536, 65536 blocks"));
  tile = most;
  tile.product.batch = 1;
  tile.product.m = tile.plan.m = 8 * 65536;
  tile.blocks = 65536;
  BOOST_TEST(begins(refusal(tile), "a grid of 1 x 65536 x 1, 65536 blocks"));
}

BOOST_AUTO_TEST_CASE(a_product_of_more_tiles_than_can_be_counted_is_refused) {
  const std::int64_t huge = std::int64_t{1} << 40;
  for (const CudaProduct& product :
       {CudaProduct{.m = huge, .n = huge, .k = 1},
        CudaProduct{.m = huge, .n = 1, .k = 1, .batch = huge},
        CudaProduct{.m = INT64_MAX, .n = INT64_MAX, .k = 1, .batch = INT64_MAX}})
    BOOST_CHECK_EXCEPTION(choose_cuda_tile(product), InternalError, [](const InternalError& error) {
      return begins(error.what(), "a grid of 9223372036854775807 x 1 x 1");
    });
}

BOOST_AUTO_TEST_CASE(shared_memory_is_that_of_the_kernels) {
  using A = gpu::Cut<128, 128, 8>;
  using B = gpu::Cut<64, 64, 16>;
  using C = gpu::Cut<64, 64, 8>;
  using D = gpu::Cut<128, 128, 32>;
  using E = gpu::Cut<128, 128, 16>;
  constexpr gpu::Reads k = gpu::Reads::along_k, width = gpu::Reads::along_width;
  using S = gpu::Cut<64, 64, 16>;
  using T = gpu::Cut<32, 32, 32>;
  using W = gpu::Cut<128, 256, 32>;
  using H = gpu::Cut<64, 64, 32>;
  const std::size_t bytes[] = {sizeof(gpu::TwoPanels<float, A>),
                               sizeof(gpu::TwoPanels<float, B>),
                               sizeof(gpu::TwoPanels<float, T>),
                               sizeof(gpu::Panels<float, A>),
                               sizeof(gpu::Panels<float, C>),
                               sizeof(gpu::SharedTiles<float, 32>),
                               0,
                               sizeof(gpu::TwoPanels<double, C>),
                               0,
                               4 * sizeof(gpu::Stage<float, E, width, k>),
                               4 * sizeof(gpu::Stage<float, S, width, k>),
                               4 * sizeof(gpu::Stage<bf16, W, k, width>),
                               4 * sizeof(gpu::Stage<bf16, D, k, width>),
                               4 * sizeof(gpu::Stage<bf16, H, k, width>),
                               4 * sizeof(gpu::Stage<f16, W, k, width>),
                               4 * sizeof(gpu::Stage<f16, D, k, width>),
                               4 * sizeof(gpu::Stage<f16, H, k, width>)};
  BOOST_REQUIRE(cuda_configs().size() == std::size(bytes));
  for (std::size_t i = 0; i < std::size(bytes); ++i)
    BOOST_TEST(cuda_configs()[i].shared_bytes == static_cast<std::int64_t>(bytes[i]));
}

BOOST_AUTO_TEST_SUITE_END()
