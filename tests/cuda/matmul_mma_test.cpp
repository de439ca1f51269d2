#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "backends/cuda/harness/cuda_names.h"
#include "backends/cuda/harness/tensor_model.h"

#include "backends/cuda/cuda_tile.h"
#include "backends/cuda/harness/product_case.h"
#include "backends/cuda/matmul_mma.cuh"

namespace {

using namespace blockgrad;
using namespace blockgrad::gpu;
using harness::ProductCase;
using harness::ProductShape;

constexpr int stages = 4;
constexpr Reads any = Reads::one_by_one;
constexpr auto plain = [](auto x, long, long) { return x; };

template <class In>
using Block = Cut<128, 128, 64 / static_cast<int>(sizeof(In))>;
template <class In>
using Warp = Cut<64, 32, 64 / static_cast<int>(sizeof(In))>;

template <Reads reads_a, Reads reads_b, class In, class Out>
void run(ProductCase<In, Out>& c, std::uint64_t seed, int without_barrier = -1) {
  harness::launch(
      {.grid = harness::line_of_tiles(c.product, c.shape.batch, Block<In>::m, Block<In>::n),
       .block = {32 * (Block<In>::m / Warp<In>::m) * (Block<In>::n / Warp<In>::n)},
       .shared_bytes = stages * sizeof(Stage<In, Block<In>, reads_a, reads_b>),
       .seed = seed,
       .without_barrier = without_barrier},
      [&] {
        matmul_mma<In, Out, Block<In>, Warp<In>, stages, reads_a, reads_b>(c.product, plain);
      });
}

/// By the reads that the layout of the case allows.
template <class In, class Out>
void run_in_packs(ProductCase<In, Out>& c, std::uint64_t seed) {
  constexpr Reads width = Reads::along_width, k = Reads::along_k;
  const bool a = c.shape.transpose_a, b = c.shape.transpose_b;
  if (!a && !b) return run<k, width>(c, seed);
  if (!a) return run<k, k>(c, seed);
  if (!b) return run<width, width>(c, seed);
  return run<width, k>(c, seed);
}

/// What the tensor core multiplies.
double seen(bf16 x) { return static_cast<double>(x); }
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
template <class In>
long configurations(DType dtype) {
  const Tile block{Block<In>::m, Block<In>::n, Block<In>::k};
  const Tile warp{Warp<In>::m, Warp<In>::n, Warp<In>::k};
  return std::ranges::count_if(cuda_configs(), [&](const CudaConfig& config) {
    return config.kernel == CudaKernel::mma && config.dtype == dtype && config.block == block &&
           config.warp == warp && config.stages == stages;
  });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(matmul_mma)

BOOST_AUTO_TEST_CASE(bf16_is_summed_as_f32_from_every_layout) {
  for (const ProductShape& shape : tails)
    in_every_layout<bf16, float>(shape, 8, [](auto& c, auto seed) { run_in_packs(c, seed); });
}

BOOST_AUTO_TEST_CASE(bf16_is_rounded_once_to_bf16) {
  in_every_layout<bf16, bf16>(tails[2], 8, [](auto& c, auto seed) { run_in_packs(c, seed); });
}

BOOST_AUTO_TEST_CASE(tf32_rounds_f32_to_eleven_bits) {
  for (const ProductShape& shape : tails)
    in_every_layout<float, float>(shape, 4, [](auto& c, auto seed) { run_in_packs(c, seed); });
}

BOOST_AUTO_TEST_CASE(operands_of_any_alignment_are_read_one_by_one) {
  for (const ProductShape& shape : tails) {
    in_every_layout<bf16, float>(shape, 3, [](auto& c, auto seed) { run<any, any>(c, seed); });
    in_every_layout<float, float>(shape, 1, [](auto& c, auto seed) { run<any, any>(c, seed); });
  }
}

BOOST_AUTO_TEST_CASE(slices_of_k_and_matrices_of_a_batch_are_apart) {
  const ProductShape shape{.m = 20, .n = 24, .k = 100, .batch = 2, .k_splits = 2, .k_slice = 64};
  in_every_layout<bf16, float>(shape, 8, [](auto& c, auto seed) { run_in_packs(c, seed); });
}

BOOST_AUTO_TEST_CASE(without_its_barrier_the_kernel_is_wrong) {
  const auto off = [](int without_barrier) {
    ProductCase<bf16, float> c({.m = 40, .n = 40, .k = 200, .pitch = 8});
    run<Reads::along_k, Reads::along_width>(c, 3, without_barrier);
    return error(c);
  };
  BOOST_TEST(!(off(0) <= 1.0));
  BOOST_TEST(off(1) <= 1.0);  // there is no second one
}

BOOST_AUTO_TEST_CASE(the_cuts_are_those_that_are_compiled) {
  BOOST_TEST(configurations<bf16>(DType::bf16) == 1);
  BOOST_TEST(configurations<float>(DType::f32) == 1);
  BOOST_TEST(std::ranges::count(cuda_configs(), CudaKernel::mma, &CudaConfig::kernel) == 2);
}

BOOST_AUTO_TEST_CASE(every_layout_has_a_kernel_that_has_run) {
  harness::print_counts();
  BOOST_TEST(harness::counts().kernels >= 14);  // 5 of bf16 to f32, 4 to bf16, 5 of TF32
}

BOOST_AUTO_TEST_SUITE_END()
