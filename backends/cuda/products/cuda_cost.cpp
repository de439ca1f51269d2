#include "backends/cuda/products/cuda_cost.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

namespace blockgrad {

namespace {

// Of compute capability 9.0 (CUDA C++ Programming Guide, "Arithmetic Instructions"; NVIDIA H100
// whitepaper, 2022), of a processor and clock. mma.sync reaches about 60 % of the tensor cores'
// rate there; waits, and bytes from the L2 cache and from memory, are estimates.
constexpr double f32_products = 128, f64_products = 64;
constexpr double half_products = 0.6 * 2048, tf32_products = 0.6 * 1024;
constexpr double bytes_from_cache = 46, bytes_from_memory = 18;
constexpr double clocks_to_memory = 600;  // from asking for a value to having it
constexpr double clocks_of_block = 1200;  // to begin, to fill its stages and to write its sums
constexpr double clocks_of_launch = 3000;

/// Products of a clock, where nothing is waited for.
double rate(const CudaConfig& config) {
  if (config.kernel == CudaKernel::mma)
    return config.math == CudaMath::tf32 ? tf32_products : half_products;
  // A thread reads m + n values, some at once, for m n products.
  const double products = config.instruction.m * config.instruction.n;
  const double reads = 0.5 * (config.instruction.m + config.instruction.n);
  return (config.dtype == DType::f64 ? f64_products : f32_products) * products / (products + reads);
}

}  // namespace

double cuda_clocks(const CudaConfig& config, const CudaProduct& product, std::int64_t tiles,
                   std::int64_t k_slice, const CudaLimits& limits) {
  const auto processors = static_cast<double>(limits.processors);
  const auto size = static_cast<double>(size_of(config.dtype));
  const double m = config.block.m, n = config.block.n, k = config.block.k;
  const double splits =
      product.k > 0 ? std::ceil(static_cast<double>(product.k) / static_cast<double>(k_slice)) : 1;

  // A step of one block keeps the processor busy for `work`: arithmetic and reads go on together,
  // but for half of the shorter one. However few blocks there are, the values of a step come no
  // sooner than its stages allow.
  const double arithmetic = m * n * k / rate(config);
  const double reads = (m + n) * k * size / bytes_from_cache;
  const double work = std::max(arithmetic, reads) + 0.5 * std::min(arithmetic, reads);
  const double wait = clocks_to_memory / std::max(config.stages - 1, 1);
  const double steps = static_cast<double>(k_slice) / k;
  const double blocks = std::ceil(static_cast<double>(tiles) * splits / processors);
  const double at_once = std::max(std::min<double>(config.resident, blocks), 1.0);
  const double rounds = std::floor(blocks / at_once), rest = blocks - rounds * at_once;
  double clocks = steps * rounds * std::max(at_once * work, wait) + rounds * clocks_of_block;
  if (rest > 0) clocks += steps * std::max(rest * work, wait) + clocks_of_block;
  if (splits == 1) return clocks;

  const double elements = static_cast<double>(product.m) * static_cast<double>(product.n) *
                          static_cast<double>(product.batch);
  const auto sum = static_cast<double>(size_of(product.sum_dtype()));
  return clocks + clocks_of_launch +
         (2 * splits + 1) * elements * sum / (processors * bytes_from_memory);
}

double cuda_clocks(const CudaTile& tile, const CudaLimits& limits) {
  return cuda_clocks(tile.config, tile.product, tile.blocks / tile.plan.k_splits, tile.k_slice,
                     limits);
}

int formula_instructions(const ScalarFn& fn) {
  using enum ScalarOp;
  // Of a kernel with the function behind the sums, by what it has more than one without; that of
  // random numbers is an estimate.
  constexpr int simple = 2, rounding_to_half = 6;
  constexpr std::pair<ScalarOp, int> longer[] = {
      {reciprocal, 14}, {divide, 15},        {sqrt, 14},        {rsqrt, 28},
      {exp, 19},        {expm1, 19},         {log, 29},         {log1p, 39},
      {tanh, 53},       {erf, 35},           {normal_cdf, 70},  {normal_cdf_tanh, 57},
      {gelu_value, 80}, {gelu_slope, 80},    {sigmoid, 39},     {softplus, 42},
      {pow, 170},       {floor_divide, 156}, {sin, 248},        {cos, 248},
      {remainder, 284}, {uniform_low, 60},   {uniform_high, 60}};
  int sum = 0;
  for (const ScalarInstr& instr : fn.code()) {
    if (instr.op == input || instr.op == constant) continue;
    const auto found = std::ranges::find(longer, instr.op, &std::pair<ScalarOp, int>::first);
    const bool rounds = instr.op == cast && is_half(instr.dtype);
    sum += found != std::end(longer) ? found->second : rounds ? rounding_to_half : simple;
  }
  return sum;
}

}  // namespace blockgrad
