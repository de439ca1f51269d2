#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "backends/cuda/harness/cuda_names.h"
#include "backends/cuda/harness/tensor_model.h"

#include "backends/cuda/harness/product_case.h"
#include "backends/cuda/products/cuda_tile.h"
#include "backends/cuda/products/matmul_mma.cuh"

namespace {

using namespace blockgrad;
using namespace blockgrad::gpu;
using harness::ProductCase;
using harness::ProductShape;

constexpr int stages = 4;
constexpr Reads any = Reads::one_by_one;
constexpr auto plain = [](auto x, long, long) { return x; };

/// A cut of the rung for operands of two bytes, or for TF32.
template <class T, int m, int n, int warp_m, int warp_n>
struct Way {
  using In = T;
  static constexpr int k = 64 / static_cast<int>(sizeof(T));
  using Block = Cut<m, n, k>;
  using Warp = Cut<warp_m, warp_n, k>;
};
template <class T>
using Middle = Way<T, 128, 128, 64, 32>;
template <class T>
using Small = Way<T, 64, 64, 32, 32>;
using Wide = Way<bf16, 128, 256, 64, 64>;

template <class Way, Reads reads_a, Reads reads_b, class In, class Out>
void run(ProductCase<In, Out>& c, std::uint64_t seed, int without_barrier = -1) {
  using Block = typename Way::Block;
  using Warp = typename Way::Warp;
  harness::launch(
      {.grid = harness::line_of_tiles(c.product, c.shape.batch, Block::m, Block::n),
       .block = {threads_of_mma<Block, Warp>},
       .shared_bytes = stages * sizeof(Stage<In, Block, reads_a, reads_b>),
       .seed = seed,
       .without_barrier = without_barrier},
      [&] { matmul_mma<In, Out, Block, Warp, stages, reads_a, reads_b>(c.product, plain); });
}

/// By the reads that the layout of the case allows.
template <class Way, class In, class Out>
void run_in_packs(ProductCase<In, Out>& c, std::uint64_t seed) {
  constexpr Reads width = Reads::along_width, k = Reads::along_k;
  const bool a = c.shape.transpose_a, b = c.shape.transpose_b;
  if (!a && !b) return run<Way, k, width>(c, seed);
  if (!a) return run<Way, k, k>(c, seed);
  if (!b) return run<Way, width, width>(c, seed);
  return run<Way, width, k>(c, seed);
}

/// What the tensor core multiplies.
double seen(bf16 x) { return static_cast<double>(x); }
double seen(f16 x) { return static_cast<double>(x); }
double seen(float x) { return detail::bits_float(to_tf32(detail::float_bits(x))); }

/// The largest error in units of what f32 sums of k products may be off, and of Out's rounding.
template <class In, class Out>
double error(ProductCase<In, Out>& c) {
  double worst = 0;
  c.each([&](long batch, long slice, long row, long column) {
    double sum = 0, size = 0;
    const long begin = slice * c.product.k_slice,
               end = std::min(begin + c.product.k_slice, c.product.k);
    for (long k = begin; k < end; ++k) {
      const double term =
          seen(c.product.a.at(batch, row, k)) * seen(c.product.b.at(batch, k, column));
      sum += term;
      size += std::fabs(term);
    }
    const auto found =
        static_cast<double>(c.product.c.at(batch * c.shape.k_splits + slice, row, column));
    const double rounding = std::is_same_v<Out, bf16> ? 0x1p-8 * std::fabs(sum) : 0;
    const double bound = static_cast<double>(end - begin + 1) * 0x1p-24 * size + rounding + 1e-30;
    const double off = std::fabs(found - sum) / bound;
    worst = std::isnan(off) ? INFINITY : std::max(worst, off);
  });
  c.check();
  return worst;
}

const ProductShape tails[] = {{.m = 1, .n = 1, .k = 1},
                              {.m = 17, .n = 33, .k = 9},
                              {.m = 40, .n = 130, .k = 70},
                              {.m = 130, .n = 8, .k = 200},
                              {.m = 5, .n = 7, .k = 0}};

template <class In, class Out, class Run>
void in_every_layout(ProductShape shape, long pitch, const Run& run_case) {
  std::uint64_t seed = 0;
  for (const bool a : {false, true})
    for (const bool b : {false, true}) {
      shape.transpose_a = a;
      shape.transpose_b = b;
      shape.pitch = pitch;
      shape.offset = pitch % Pack<In>::size == 0 ? 0 : 1;
      ProductCase<In, Out> c(shape, ++seed);
      run_case(c, seed);
      const double off = error(c);
      BOOST_TEST(off <= 1.0, harness::to_string(shape) << ": off by " << off << " bounds");
    }
}

/// How many configurations are compiled that these tests run.
template <class Way>
long configurations(DType dtype) {
  using Block = typename Way::Block;
  using Warp = typename Way::Warp;
  return std::ranges::count_if(cuda_configs(), [&](const CudaConfig& config) {
    return config.kernel == CudaKernel::mma && config.dtype == dtype &&
           config.block == Tile{Block::m, Block::n, Block::k} &&
           config.warp == Tile{Warp::m, Warp::n, Warp::k} && config.stages == stages;
  });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(matmul_mma)

BOOST_AUTO_TEST_CASE(bf16_is_summed_as_f32_from_every_layout) {
  for (const ProductShape& shape : tails)
    in_every_layout<bf16, float>(shape, 8,
                                 [](auto& c, auto seed) { run_in_packs<Middle<bf16>>(c, seed); });
}

BOOST_AUTO_TEST_CASE(bf16_is_rounded_once_to_bf16) {
  in_every_layout<bf16, bf16>(tails[2], 8,
                              [](auto& c, auto seed) { run_in_packs<Middle<bf16>>(c, seed); });
}

BOOST_AUTO_TEST_CASE(other_cuts_and_f16_are_summed_alike) {
  for (const ProductShape& shape : {tails[1], tails[2]}) {
    in_every_layout<bf16, float>(shape, 8, [](auto& c, auto seed) { run_in_packs<Wide>(c, seed); });
    in_every_layout<f16, float>(shape, 8,
                                [](auto& c, auto seed) { run_in_packs<Small<f16>>(c, seed); });
    in_every_layout<float, float>(shape, 4,
                                  [](auto& c, auto seed) { run_in_packs<Small<float>>(c, seed); });
  }
  in_every_layout<f16, float>(tails[2], 3,
                              [](auto& c, auto seed) { run<Small<f16>, any, any>(c, seed); });
}

BOOST_AUTO_TEST_CASE(tf32_rounds_f32_to_eleven_bits) {
  for (const ProductShape& shape : tails)
    in_every_layout<float, float>(shape, 4,
                                  [](auto& c, auto seed) { run_in_packs<Middle<float>>(c, seed); });
}

BOOST_AUTO_TEST_CASE(operands_of_any_alignment_are_read_one_by_one) {
  for (const ProductShape& shape : tails) {
    in_every_layout<bf16, float>(shape, 3,
                                 [](auto& c, auto seed) { run<Middle<bf16>, any, any>(c, seed); });
    in_every_layout<float, float>(
        shape, 1, [](auto& c, auto seed) { run<Middle<float>, any, any>(c, seed); });
  }
}

BOOST_AUTO_TEST_CASE(slices_of_k_and_matrices_of_a_batch_are_apart) {
  const ProductShape shape{.m = 20, .n = 24, .k = 100, .batch = 2, .k_splits = 2, .k_slice = 64};
  in_every_layout<bf16, float>(shape, 8,
                               [](auto& c, auto seed) { run_in_packs<Middle<bf16>>(c, seed); });
}

BOOST_AUTO_TEST_CASE(without_its_barrier_the_kernel_is_wrong) {
  const auto off = [](int without_barrier) {
    ProductCase<bf16, float> c({.m = 40, .n = 40, .k = 200, .pitch = 8});
    run<Middle<bf16>, Reads::along_k, Reads::along_width>(c, 3, without_barrier);
    return error(c);
  };
  BOOST_TEST(!(off(0) <= 1.0));
  BOOST_TEST(off(1) <= 1.0);  // there is no second one
}

BOOST_AUTO_TEST_CASE(the_cuts_are_those_that_are_compiled) {
  long all = configurations<Middle<float>>(DType::f32) + configurations<Small<float>>(DType::f32);
  BOOST_TEST(all == 2);
  for (const DType half : {DType::bf16, DType::f16})
    all += configurations<Wide>(half) + configurations<Middle<bf16>>(half) +
           configurations<Small<bf16>>(half);
  BOOST_TEST(all == 8);
  BOOST_TEST(std::ranges::count(cuda_configs(), CudaKernel::mma, &CudaConfig::kernel) == all);
}

BOOST_AUTO_TEST_CASE(every_layout_has_a_kernel_that_has_run) {
  harness::print_counts();
  BOOST_TEST(harness::counts().kernels >= 27);
}

BOOST_AUTO_TEST_SUITE_END()
