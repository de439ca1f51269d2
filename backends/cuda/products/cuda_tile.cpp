#include "backends/cuda/products/cuda_tile.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "backends/cuda/products/cuda_cost.h"
#include "blockgrad/graph/error.h"

namespace blockgrad {

namespace {

using gpu::Tile;

std::int64_t whole_parts(std::int64_t size, std::int64_t part) {
  return size / part + (size % part != 0);
}

/// a b, or the largest number where that is larger; a and b are not negative.
std::int64_t product_up_to_most(std::int64_t a, std::int64_t b) {
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  return b > 0 && a > most / b ? most : a * b;
}

/// As the structures in the kernels' files say; tests compare them.
std::int64_t shared_bytes(const CudaConfig& config) {
  const auto size = static_cast<std::int64_t>(size_of(config.dtype));
  const std::int64_t m = config.block.m, n = config.block.n, k = config.block.k, pack = 16 / size;
  switch (config.kernel) {
    case CudaKernel::elements: return 0;
    case CudaKernel::shared: return k * (m + n) * size;
    case CudaKernel::registers:
    case CudaKernel::warps: return config.stages * k * (m + n + 2 * pack) * size;
    case CudaKernel::mma: return config.stages * k * (m + n) * size;
  }
  return 0;
}

CudaConfig config(CudaKernel kernel, DType dtype, CudaMath math, Tile block, Tile warp,
                  Tile instruction, int threads, int stages, int registers) {
  CudaConfig result{.kernel = kernel,
                    .dtype = dtype,
                    .math = math,
                    .block = block,
                    .warp = warp,
                    .instruction = instruction,
                    .threads = threads,
                    .stages = stages,
                    .registers = registers};
  result.shared_bytes = shared_bytes(result);
  const CudaLimits limits;
  constexpr int most_threads = 2048;  // of a processor
  result.resident = std::min(most_threads / threads, limits.registers / (threads * registers));
  if (result.shared_bytes > 0)
    result.resident =
        std::min(result.resident, static_cast<int>(limits.shared_bytes / result.shared_bytes));
  return result;
}

/// Those of one dtype and math from the largest to the smallest block tile.
std::vector<CudaConfig> all_configs() {
  using enum CudaKernel;
  using enum CudaMath;
  std::vector<CudaConfig> all{
      config(warps, DType::f32, exact, {128, 128, 8}, {64, 32, 8}, {8, 8, 1}, 256, 2, 168),
      config(warps, DType::f32, exact, {64, 64, 16}, {32, 16, 16}, {4, 4, 1}, 256, 2, 120),
      config(warps, DType::f32, exact, {32, 32, 32}, {32, 16, 32}, {4, 4, 1}, 64, 2, 248),
      config(registers, DType::f32, exact, {128, 128, 8}, {16, 128, 8}, {8, 8, 1}, 256, 1, 168),
      config(registers, DType::f32, exact, {64, 64, 8}, {8, 32, 8}, {8, 1, 1}, 512, 1, 40),
      config(shared, DType::f32, exact, {32, 32, 32}, {1, 32, 32}, {1, 1, 1}, 1024, 1, 32),
      config(elements, DType::f32, exact, {8, 16, 1}, {2, 16, 1}, {1, 1, 1}, 128, 1, 32),
      config(warps, DType::f64, exact, {64, 64, 8}, {32, 16, 8}, {4, 4, 1}, 256, 2, 128),
      config(elements, DType::f64, exact, {8, 16, 1}, {2, 16, 1}, {1, 1, 1}, 128, 1, 32),
      config(mma, DType::f32, tf32, {128, 128, 16}, {64, 32, 16}, {16, 8, 8}, 256, 4, 216),
      config(mma, DType::f32, tf32, {64, 64, 16}, {32, 32, 16}, {16, 8, 8}, 128, 4, 168),
  };
  for (const DType half : {DType::bf16, DType::f16}) {
    all.push_back(config(mma, half, exact, {128, 256, 32}, {64, 64, 32}, {16, 8, 16}, 256, 4, 255));
    all.push_back(config(mma, half, exact, {128, 128, 32}, {64, 32, 32}, {16, 8, 16}, 256, 4, 128));
    all.push_back(config(mma, half, exact, {64, 64, 32}, {32, 32, 32}, {16, 8, 16}, 128, 4, 128));
  }
  return all;
}

const std::vector<CudaConfig>& configs() {
  static const std::vector<CudaConfig> all = all_configs();
  return all;
}

/// What is left of a block in a product that is smaller.
Block clipped(Level level, Tile tile, const CudaProduct& product) {
  return {level, std::min<std::int64_t>(tile.m, product.m),
          std::min<std::int64_t>(tile.n, product.n), std::min<std::int64_t>(tile.k, product.k)};
}

std::int64_t tiles(const CudaConfig& config, const CudaProduct& product) {
  const std::int64_t of_one = product_up_to_most(whole_parts(product.m, config.block.m),
                                                 whole_parts(product.n, config.block.n));
  return product_up_to_most(of_one, product.batch);
}

// Below it the sums of a slice are written and read again for too little work.
constexpr std::int64_t least_slice = 192;
constexpr std::int64_t most_splits = 64;

/// Whether a kernel keeps the sums of slices apart.
bool can_split(const CudaConfig& config) {
  return config.kernel != CudaKernel::elements && config.kernel != CudaKernel::shared;
}

/// The most slices that k is long enough for.
std::int64_t most_slices(const CudaConfig& config, const CudaProduct& product) {
  if (!can_split(config)) return 1;
  return std::clamp<std::int64_t>(product.k / least_slice, 1, most_splits);
}

/// A slice is a whole number of steps, so only the last one has a tail.
std::int64_t slice_of(const CudaConfig& config, const CudaProduct& product, std::int64_t splits) {
  return whole_parts(whole_parts(product.k, splits), config.block.k) * config.block.k;
}

// A thread of the widest tile has 128 sums, behind which a formula is written out as often: more of
// it is a kernel of over 24,000 instructions (of 16 bytes), which a half as wide tile halves.
constexpr int longest_formula = 100;

/// What a product may use; the rungs below are for comparison.
bool is_candidate(const CudaConfig& config, const CudaProduct& product) {
  const bool is_widest = config.kernel == CudaKernel::mma && config.block.n > 128;
  return config.dtype == product.dtype && config.math == product.math &&
         config.kernel != CudaKernel::registers && config.kernel != CudaKernel::shared &&
         !(is_widest && (product.is_gathered || product.formula > longest_formula));
}

/// A grid's extents. Kernels that place blocks by place_of_block lie along x; the others have rows
/// along y and the batch along z.
struct Grid {
  std::int64_t x = 1, y = 1, z = 1;
};

Grid grid_of(const CudaConfig& config, const CudaProduct& product, std::int64_t blocks) {
  if (config.kernel != CudaKernel::elements && config.kernel != CudaKernel::shared)
    return {.x = blocks};
  return {whole_parts(product.n, config.block.n), whole_parts(product.m, config.block.m),
          product.batch};
}

// Of a grid (CUDA C++ Programming Guide, as CudaLimits).
constexpr std::int64_t most_blocks_x = 0x7fffffff, most_blocks_yz = 65535;

struct Choice {
  const CudaConfig* config = nullptr;
  std::int64_t k_slice = 0;
  double clocks = 0;
};

/// The tiles and slices of the least cost; of equal ones the larger tiles and fewer slices.
Choice choose(const CudaProduct& product, const CudaLimits& limits) {
  constexpr std::int64_t few_elements = 32 * 32, short_k = 128;
  const bool is_tiny = product_up_to_most(product.m, product.n) <= few_elements &&
                       product.k <= short_k && product.batch <= most_blocks_yz;
  Choice best;
  for (const CudaConfig& config : configs()) {
    if (!is_candidate(config, product)) continue;
    if (config.kernel == CudaKernel::elements) {
      if (is_tiny) return {&config, slice_of(config, product, 1)};
      continue;
    }
    for (std::int64_t splits = 1; splits <= most_slices(config, product); ++splits) {
      const Choice choice{&config, slice_of(config, product, splits),
                          cuda_clocks(config, product, tiles(config, product),
                                      slice_of(config, product, splits), limits)};
      if (best.config == nullptr || choice.clocks < best.clocks) best = choice;
    }
  }
  check_internal(best.config != nullptr, "no CUDA kernel multiplies ", name(product.dtype));
  return best;
}

std::string_view to_string(CudaKernel kernel) {
  switch (kernel) {
    case CudaKernel::elements: return "elements";
    case CudaKernel::shared: return "shared";
    case CudaKernel::registers: return "registers";
    case CudaKernel::warps: return "warps";
    case CudaKernel::mma: return "mma";
  }
  return "?";
}

}  // namespace

std::span<const CudaConfig> cuda_configs() { return configs(); }

CudaTile choose_cuda_tile(const CudaProduct& product, const CudaLimits& limits) {
  const Choice choice = choose(product, limits);
  CudaTile tile{
      .product = product, .config = *choice.config, .plan = {}, .k_slice = choice.k_slice};
  const CudaConfig& config = tile.config;
  tile.plan = {product.m, product.n, product.k, {}, 1, ""};
  if (product.k > 0) tile.plan.k_splits = static_cast<int>(whole_parts(product.k, tile.k_slice));
  tile.plan.levels = {clipped(Level::grid, config.block, product),
                      clipped(Level::warp, config.warp, product),
                      clipped(Level::instruction, config.instruction, product)};
  const std::int64_t count = tiles(config, product);
  tile.plan.why =
      fmt::format("{} tile{} for {} processors", count, count == 1 ? "" : "s", limits.processors);
  tile.blocks = count * tile.plan.k_splits;
  tile.verify(limits);
  return tile;
}

void CudaTile::verify(const CudaLimits& limits) const {
  plan.verify();
  check_internal(plan.m == product.m && plan.n == product.n && plan.k == product.k,
                 "CUDA tile: the plan is of another product");
  const std::int64_t before_last = (plan.k_splits - 1) * k_slice;
  check_internal(k_slice >= 0 && before_last + k_slice >= plan.k &&
                     (before_last < plan.k || plan.k_splits == 1),
                 "CUDA tile: ", plan.k_splits, " slices of ", k_slice, " do not cover k ", plan.k,
                 " with none empty");
  check_internal(plan.k_splits == 1 || can_split(config), "CUDA tile: ", plan.k_splits,
                 " slices of k, whose sums the ", to_string(config.kernel), " kernel of ",
                 name(config.dtype), " does not keep");
  const Grid grid = grid_of(config, product, blocks);
  check_internal(
      blocks == product_up_to_most(tiles(config, product), plan.k_splits) &&
          grid.x <= most_blocks_x && grid.y <= most_blocks_yz && grid.z <= most_blocks_yz,
      "CUDA tile: a grid of ", grid.x, " x ", grid.y, " x ", grid.z, ", ", blocks, " blocks");
  check_internal(config.threads >= 1 && config.threads <= 1024 && band >= 1,
                 "CUDA tile: ", config.threads, " threads in bands of ", band);
  check_internal(config.threads * config.registers <= limits.registers,
                 "CUDA tile: ", config.threads, " threads of ", config.registers,
                 " registers, there are ", limits.registers);
  check_internal(config.shared_bytes <= limits.shared_bytes, "CUDA tile: ", config.shared_bytes,
                 " bytes of shared memory, there are ", limits.shared_bytes);
}

std::string to_string(const CudaTile& tile) {
  const CudaConfig& config = tile.config;
  const DType result = tile.product.result_dtype();
  return fmt::format(
      "{} {}{}{} | {} | {} block{} of {} threads, {} registers, {} stage{}, {} bytes of shared "
      "memory",
      to_string(config.kernel), name(config.dtype), config.math == CudaMath::tf32 ? " as tf32" : "",
      result == config.dtype ? "" : fmt::format(" to {}", name(result)), to_string(tile.plan),
      tile.blocks, tile.blocks == 1 ? "" : "s", config.threads, config.registers, config.stages,
      config.stages == 1 ? "" : "s", config.shared_bytes);
}

}  // namespace blockgrad
