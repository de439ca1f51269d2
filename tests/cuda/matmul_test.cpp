#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>
#include <vector>

#include "backends/cuda/harness/cuda_names.h"

#include "backends/cuda/harness/product_case.h"
#include "backends/cuda/products/cuda_tile.h"
#include "backends/cuda/products/matmul_elements.cuh"
#include "backends/cuda/products/matmul_registers.cuh"
#include "backends/cuda/products/matmul_shared.cuh"
#include "backends/cuda/products/matmul_splits.cuh"
#include "backends/cuda/products/matmul_warps.cuh"

namespace {

using namespace blockgrad;
using namespace blockgrad::gpu;
using harness::launch;
using harness::ProductCase;
using harness::ProductShape;

constexpr unsigned blocks_for(long size, int tile) {
  return static_cast<unsigned>((size + tile - 1) / tile);
}

/// How threads are scheduled.
struct Order {
  std::uint64_t seed = 0;
  int without_barrier = -1;
};

/// Kernel, bytes of an element, block tile, warp or thread tile where the kernel has any.
using Cuts = std::tuple<CudaKernel, std::size_t, int, int, int, int, int>;
std::set<Cuts> cuts_that_ran;

// The rungs as functions of a case; each returns the number of wrong elements.

template <class T, class Epilogue>
long run_elements(ProductCase<T>& c, Order order, const Epilogue& epilogue) {
  cuts_that_ran.insert({CudaKernel::elements, sizeof(T), 8, 16, 1, 0, 0});
  const dim3 grid{blocks_for(c.shape.n, 16), blocks_for(c.shape.m, 8),
                  static_cast<unsigned>(c.shape.batch)};
  launch({.grid = grid,
          .block = {16, 8},
          .seed = order.seed,
          .without_barrier = order.without_barrier},
         [&] { matmul_elements<T>(c.product, epilogue); });
  return c.wrong(epilogue);
}

template <class T, int tile, class Epilogue>
long run_shared(ProductCase<T>& c, Order order, const Epilogue& epilogue) {
  cuts_that_ran.insert({CudaKernel::shared, sizeof(T), tile, tile, tile, 0, 0});
  const dim3 grid{blocks_for(c.shape.n, tile), blocks_for(c.shape.m, tile),
                  static_cast<unsigned>(c.shape.batch)};
  launch({.grid = grid,
          .block = {tile, tile},
          .shared_bytes = sizeof(SharedTiles<T, tile>),
          .seed = order.seed,
          .without_barrier = order.without_barrier},
         [&] { matmul_shared<T, tile>(c.product, epilogue); });
  return c.wrong(epilogue);
}

template <class T, class Block, class Thread, Reads reads_a, Reads reads_b, class Epilogue>
long run_registers(ProductCase<T>& c, Order order, const Epilogue& epilogue) {
  cuts_that_ran.insert(
      {CudaKernel::registers, sizeof(T), Block::m, Block::n, Block::k, Thread::m, Thread::n});
  launch({.grid = harness::line_of_tiles(c.product, c.shape.batch, Block::m, Block::n),
          .block = {threads_of<Block, Thread>},
          .shared_bytes = sizeof(Panels<T, Block>),
          .seed = order.seed,
          .without_barrier = order.without_barrier},
         [&] { matmul_registers<T, Block, Thread, reads_a, reads_b>(c.product, epilogue); });
  return c.wrong(epilogue);
}

template <class T, class Block, class Warp, Reads reads_a, Reads reads_b, class Epilogue>
long run_warps(ProductCase<T>& c, Order order, const Epilogue& epilogue) {
  cuts_that_ran.insert(
      {CudaKernel::warps, sizeof(T), Block::m, Block::n, Block::k, Warp::m, Warp::n});
  launch({.grid = harness::line_of_tiles(c.product, c.shape.batch, Block::m, Block::n),
          .block = {32 * warps_of<Block, Warp>},
          .shared_bytes = sizeof(TwoPanels<T, Block>),
          .seed = order.seed,
          .without_barrier = order.without_barrier},
         [&] { matmul_warps<T, Block, Warp, reads_a, reads_b>(c.product, epilogue); });
  return c.wrong(epilogue);
}

/// The kernel that reads 16 bytes at once where the layout of the case lets it.
template <class T, class Block, class Warp, class Epilogue>
long run_warps_in_packs(ProductCase<T>& c, Order order, const Epilogue& epilogue) {
  constexpr Reads width = Reads::along_width, k = Reads::along_k;
  const bool a = c.shape.transpose_a, b = c.shape.transpose_b;
  if (!a && !b) return run_warps<T, Block, Warp, k, width>(c, order, epilogue);
  if (!a) return run_warps<T, Block, Warp, k, k>(c, order, epilogue);
  if (!b) return run_warps<T, Block, Warp, width, width>(c, order, epilogue);
  return run_warps<T, Block, Warp, width, k>(c, order, epilogue);
}

using F32Block = Cut<128, 128, 8>;
using F32Warp = Cut<64, 32, 8>;
using SmallBlock = Cut<64, 64, 16>;
using SmallWarp = Cut<32, 16, 16>;
using TinyBlock = Cut<32, 32, 32>;
using TinyWarp = Cut<32, 16, 32>;
using F64Block = Cut<64, 64, 8>;
using F64Warp = Cut<32, 16, 8>;
constexpr Reads any = Reads::one_by_one;

long cases = 0;

/// Checks every layout of a shape, with rows at multiples of `pitch` elements.
template <class T, class Run>
void in_every_layout(ProductShape shape, long pitch, const Run& run) {
  for (const bool a : {false, true})
    for (const bool b : {false, true}) {
      shape.transpose_a = a;
      shape.transpose_b = b;
      shape.pitch = pitch;
      shape.offset = pitch % Pack<T>::size == 0 ? 0 : 1;
      ProductCase<T> c(shape, static_cast<std::uint64_t>(++cases));
      const long wrong = run(c, Order{static_cast<std::uint64_t>(cases)});
      BOOST_TEST(wrong == 0, harness::to_string(shape) << ": " << wrong << " wrong");
    }
}

const auto plain = [](auto x, long, long) { return x; };

const ProductShape tails[] = {{.m = 1, .n = 1, .k = 1},   {.m = 3, .n = 5, .k = 2},
                              {.m = 17, .n = 33, .k = 9}, {.m = 40, .n = 24, .k = 31},
                              {.m = 5, .n = 70, .k = 16}, {.m = 65, .n = 7, .k = 0}};

/// In ascending order.
template <class T, class Block, class Warp>
void slices_are_joined(long pitch) {
  const ProductShape shape{.m = 9, .n = 13, .k = 60, .batch = 2, .k_splits = 4, .k_slice = 16};
  in_every_layout<T>(shape, pitch, [](auto& c, auto order) {
    const long wrong = run_warps_in_packs<T, Block, Warp>(c, order, plain);
    const ProductShape& s = c.shape;
    harness::Guarded<T> sums(static_cast<std::size_t>(s.batch * s.k_splits * s.m * s.n));
    ProductCase<T> joined({.m = s.m, .n = s.n, .k = s.k, .batch = s.batch});
    joined.product.k_splits = s.k_splits;
    std::size_t i = 0;
    c.each([&](long batch, long slice, long row, long column) {
      sums[i++] = c.product.c.at(batch * s.k_splits + slice, row, column);
    });
    const auto half = [](T x, long, long) { return x / 2; };
    launch({.grid = {blocks_for(s.batch * s.m * s.n, 64)}, .block = {64}},
           [&] { join_splits(joined.product, sums.data(), s.batch, half); });
    long unequal = 0;
    joined.each([&](long batch, long, long row, long column) {
      T sum = c.sum(batch, row, column, 0);
      for (long slice = 1; slice < s.k_splits; ++slice) sum += c.sum(batch, row, column, slice);
      unequal += joined.product.c.at(batch, row, column) != sum / 2;
    });
    return wrong + unequal;
  });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(matmul)

// All are the same chain of fused multiply-adds, so they agree bit for bit.

BOOST_AUTO_TEST_CASE(a_thread_computes_an_element) {
  const auto run = [](auto& c, auto order) { return run_elements(c, order, plain); };
  for (const ProductShape& shape : tails) {
    in_every_layout<float>(shape, 1, run);
    in_every_layout<double>(shape, 3, run);
  }
}

BOOST_AUTO_TEST_CASE(a_block_shares_tiles) {
  for (const ProductShape& shape : tails) {
    in_every_layout<float>(
        shape, 1, [](auto& c, auto order) { return run_shared<float, 16>(c, order, plain); });
    in_every_layout<double>(
        shape, 3, [](auto& c, auto order) { return run_shared<double, 8>(c, order, plain); });
  }
}

BOOST_AUTO_TEST_CASE(a_block_of_the_most_threads_shares_tiles) {
  in_every_layout<float>(
      tails[3], 1, [](auto& c, auto order) { return run_shared<float, 32>(c, order, plain); });
}

BOOST_AUTO_TEST_CASE(a_thread_computes_a_column_or_a_tile) {
  for (const ProductShape& shape : tails) {
    in_every_layout<float>(shape, 1, [](auto& c, auto order) {
      return run_registers<float, Cut<64, 64, 8>, Cut<8, 1, 1>, any, any>(c, order, plain);
    });
    in_every_layout<float>(shape, 3, [](auto& c, auto order) {
      return run_registers<float, F32Block, Cut<8, 8, 1>, any, any>(c, order, plain);
    });
  }
}

BOOST_AUTO_TEST_CASE(warps_read_sixteen_bytes_at_once) {
  for (const ProductShape& shape : tails) {
    in_every_layout<float>(shape, 4, [](auto& c, auto order) {
      return run_warps_in_packs<float, F32Block, F32Warp>(c, order, plain);
    });
    in_every_layout<float>(shape, 4, [](auto& c, auto order) {
      return run_warps_in_packs<float, SmallBlock, SmallWarp>(c, order, plain);
    });
    in_every_layout<float>(shape, 4, [](auto& c, auto order) {
      return run_warps_in_packs<float, TinyBlock, TinyWarp>(c, order, plain);
    });
    in_every_layout<double>(shape, 2, [](auto& c, auto order) {
      return run_warps_in_packs<double, F64Block, F64Warp>(c, order, plain);
    });
  }
}

BOOST_AUTO_TEST_CASE(warps_read_operands_of_any_alignment) {
  for (const ProductShape& shape : tails) {
    in_every_layout<float>(shape, 3, [](auto& c, auto order) {
      return run_warps<float, F32Block, F32Warp, any, any>(c, order, plain);
    });
    in_every_layout<float>(shape, 1, [](auto& c, auto order) {
      return run_warps<float, SmallBlock, SmallWarp, any, any>(c, order, plain);
    });
    in_every_layout<float>(shape, 1, [](auto& c, auto order) {
      return run_warps<float, TinyBlock, TinyWarp, any, any>(c, order, plain);
    });
    in_every_layout<double>(shape, 1, [](auto& c, auto order) {
      return run_warps<double, F64Block, F64Warp, any, any>(c, order, plain);
    });
  }
}

BOOST_AUTO_TEST_CASE(blocks_of_a_grid_cover_c_once) {
  const ProductShape shape{.m = 300, .n = 270, .k = 10};
  in_every_layout<float>(shape, 4, [](auto& c, auto order) {
    return run_warps_in_packs<float, F32Block, F32Warp>(c, order, plain);
  });
}

BOOST_AUTO_TEST_CASE(slices_of_k_are_joined_in_ascending_order) {
  slices_are_joined<float, F32Block, F32Warp>(4);
  slices_are_joined<double, F64Block, F64Warp>(2);
}

BOOST_AUTO_TEST_CASE(matrices_of_a_batch_are_apart_or_share_an_operand) {
  for (const bool shares_b : {false, true}) {
    const ProductShape shape{.m = 20, .n = 12, .k = 7, .batch = 3, .shares_b = shares_b};
    in_every_layout<float>(shape, 1,
                           [](auto& c, auto order) { return run_elements(c, order, plain); });
    in_every_layout<float>(
        shape, 1, [](auto& c, auto order) { return run_shared<float, 16>(c, order, plain); });
    in_every_layout<float>(shape, 4, [](auto& c, auto order) {
      return run_warps_in_packs<float, F32Block, F32Warp>(c, order, plain);
    });
  }
}

BOOST_AUTO_TEST_CASE(what_follows_the_product_is_computed_with_it) {
  std::vector<float> bias(70);
  for (std::size_t i = 0; i < bias.size(); ++i) bias[i] = static_cast<float>(i % 7) - 3;
  const ProductShape shape{.m = 20, .n = 70, .k = 7};
  in_every_layout<float>(shape, 4, [&](auto& c, auto order) {
    return run_warps_in_packs<float, F32Block, F32Warp>(c, order, AddBias<float>{bias.data()});
  });
  in_every_layout<float>(shape, 1, [&](auto& c, auto order) {
    return run_elements(c, order, AddBiasRelu<float>{bias.data()});
  });
}

BOOST_AUTO_TEST_CASE(infinite_values_spread_as_in_the_sum) {
  ProductCase<float> c({.m = 5, .n = 6, .k = 9, .pitch = 4});
  const_cast<float&>(c.product.b.at(0, 8, 3)) = INFINITY;
  const_cast<float&>(c.product.a.at(0, 2, 0)) = -INFINITY;
  BOOST_TEST((run_warps_in_packs<float, F32Block, F32Warp>(c, Order{}, plain)) == 0);
}

BOOST_AUTO_TEST_CASE(without_any_one_of_its_barriers_a_kernel_is_wrong) {
  const auto wrong = [](int barrier, const auto& run) {
    ProductCase<float> c({.m = 40, .n = 40, .k = 40, .pitch = 4});
    return run(c, Order{.seed = 7, .without_barrier = barrier});
  };
  const auto needs_two = [&](const auto& run) {
    BOOST_TEST(wrong(0, run) > 0);
    BOOST_TEST(wrong(1, run) > 0);
    BOOST_TEST(wrong(2, run) == 0);  // there is no third one
  };
  needs_two([](auto& c, auto order) { return run_shared<float, 16>(c, order, plain); });
  needs_two([](auto& c, auto order) {
    return run_registers<float, F32Block, Cut<8, 8, 1>, any, any>(c, order, plain);
  });
  needs_two([](auto& c, auto order) {
    return run_warps_in_packs<float, F32Block, F32Warp>(c, order, plain);
  });
}

BOOST_AUTO_TEST_CASE(every_configuration_has_run) {
  for (const CudaConfig& config : cuda_configs()) {
    if (config.kernel == CudaKernel::mma) continue;  // matmul_mma_test.cpp
    const gpu::Tile inner = config.kernel == CudaKernel::warps       ? config.warp
                            : config.kernel == CudaKernel::registers ? config.instruction
                                                                     : gpu::Tile{0, 0, 0};
    const auto [m, n, k] = config.block;
    BOOST_TEST(
        cuts_that_ran.contains({config.kernel, size_of(config.dtype), m, n, k, inner.m, inner.n}),
        "kernel " << static_cast<int>(config.kernel) << " of " << m << "x" << n << "x" << k);
  }
}

BOOST_AUTO_TEST_CASE(every_kernel_has_run) {
  harness::print_counts();
  BOOST_TEST(harness::counts().launches >= cases);
}

BOOST_AUTO_TEST_SUITE_END()
