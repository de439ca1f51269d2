#include "backends/cpu/weight_product.h"

#include <algorithm>
#include <limits>
#include <type_traits>

#include "backends/cpu/cache_size.h"

namespace blockgrad {

using detail::LayoutA;
using detail::TileKernels;

namespace {

std::int64_t divide_up(std::int64_t size, std::int64_t step) { return (size + step - 1) / step; }

constexpr std::int64_t line_bytes = 64;

std::int64_t size_of(GemmType type) { return type == GemmType::f32 ? 4 : 8; }

template <class T>
const TileKernels<T>& table_of(const detail::GemmKernels& kernels) {
  if constexpr (std::is_same_v<T, float>) return kernels.f32;
  else return kernels.f64;
}

}  // namespace

struct WeightProduct::Block {
  int half;
  std::uint64_t turn;
  std::int64_t first, rows, depth;
  std::int64_t tile;  // the number of its first one
};

bool WeightProduct::is_worth_it(const GemmShape& shape) {
  // Of multiply-adds: some ten microseconds for each of two threads.
  constexpr double least_work = 2e6;
  constexpr std::int64_t least_rows = 64, least_elements_per_sum = 4, most_depth = 1024;
  const auto [m, n, k, type, a_row, a_col, b_row, b_col, b_panel] = shape;
  const bool sums_rows = a_row == 1 && a_col >= m && b_col == 1 && b_panel == 0;
  if (!sums_rows || m < least_rows || n < 2 || k / 2 > most_depth) return false;
  const std::int64_t half_bytes = k / 2 * n * size_of(type);
  // Rows so far apart meet in few sets of the caches.
  const bool is_bad_stride = b_row * size_of(type) % 4096 == 0;
  return k * (m + n) >= least_elements_per_sum * m * n &&
         static_cast<double>(m * n) * static_cast<double>(k) >= least_work &&
         half_bytes <= detail::second_cache_bytes() && !is_bad_stride;
}

WeightProduct::WeightProduct(const GemmShape& shape, Isa isa)
    : shape_(shape), kernels_(&detail::gemm_kernels(isa)) {
  if (shape.type == GemmType::f32) choose_tiles(kernels_->f32);
  else choose_tiles(kernels_->f64);
}

/// Those with the fewest cycles: two multiply-adds and two loads start per cycle, and a sum waits
/// four cycles for itself.
template <class T>
void WeightProduct::choose_tiles(const TileKernels<T>& table) {
  const std::int64_t vectors = divide_up(shape_.n, table.lanes);
  const auto cycles_of = [](std::int64_t rows, std::int64_t width) {
    return static_cast<double>(std::max({rows * width, rows + width, std::int64_t{8}})) / 2;
  };
  double best = std::numeric_limits<double>::infinity();
  for (int width = 1; width <= table.max_vectors; ++width) {
    int rows = std::clamp(table.accumulators / width, 1, table.max_rows);
    while (rows > 0 && !table.find(LayoutA::columns, false, width, rows)) --rows;
    const int edge = static_cast<int>(vectors % width);
    if (rows == 0 || (edge > 0 && !table.find(LayoutA::columns, false, edge, rows))) continue;
    double strips = static_cast<double>(vectors / width) * cycles_of(rows, width);
    if (edge > 0) strips += cycles_of(rows, edge);
    const double cycles = static_cast<double>(divide_up(shape_.m, rows)) * strips;
    if (cycles >= best) continue;
    best = cycles;
    tile_rows_ = rows;
    tile_vectors_ = width;
  }
  // Pieces of rows of A of some lines, and a copy that stays near.
  constexpr std::int64_t block_rows = 64;
  block_rows_ = divide_up(block_rows, tile_rows_) * tile_rows_;
  // A line more than whole ones, so that panels do not meet in the same sets of the first cache;
  // what a whole vector of the last row writes fits into it.
  const std::int64_t line = line_bytes / std::int64_t{sizeof(T)};
  const std::int64_t depth = shape_.k - shape_.k / 2;
  panel_ = (divide_up(depth * tile_rows_, line) | 1) * line + 2 * line;
  const std::int64_t panels = block_rows_ / tile_rows_;
  scratch_ = static_cast<std::size_t>(panels * panel_) * sizeof(T);
  // The second half is a batch behind: few tiles, but more than a line takes to come.
  constexpr std::int64_t least_tiles = 2, most_batches = 96;
  const std::int64_t tiles = divide_up(shape_.m, tile_rows_) * divide_up(vectors, tile_vectors_);
  batch_ = std::max(least_tiles, divide_up(tiles, most_batches));
  handover_ = std::make_shared<Handover>(divide_up(tiles, batch_));
}

void WeightProduct::run(int half, std::uint64_t turn, const void* a, const void* b, void* c,
                        std::byte* scratch) const {
  const auto run_with = [&]<class T>(T) {
    run_as(half, turn, static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(c),
           reinterpret_cast<T*>(scratch));
  };
  if (shape_.type == GemmType::f32) run_with(float());
  else run_with(double());
}

template <class T>
void WeightProduct::run_as(int half, std::uint64_t turn, const T* a, const T* b, T* c,
                           T* panels) const {
  const std::int64_t split = shape_.k / 2, depth = half == 0 ? split : shape_.k - split;
  if (half == 1) {
    a += split * shape_.a_col;
    b += split * shape_.b_row;
  }
  const std::int64_t strips =
      divide_up(shape_.n, tile_vectors_ * std::int64_t{table_of<T>(*kernels_).lanes});
  std::int64_t tile = 0;
  for (std::int64_t row = 0; row < shape_.m; row += block_rows_) {
    const std::int64_t rows = std::min(block_rows_, shape_.m - row);
    table_of<T>(*kernels_).split_panels(depth, rows, a + row, shape_.a_col, panels, tile_rows_,
                                        panel_);
    add_block<T>({half, turn, row, rows, depth, tile}, b, c + row * shape_.n, panels);
    tile += divide_up(rows, tile_rows_) * strips;
  }
  if (half == 0) handover_->pass(handover_->blocks() - 1, turn);
}

template <class T>
void WeightProduct::add_block(const Block& block, const T* b, T* c, const T* panels) const {
  const TileKernels<T>& table = table_of<T>(*kernels_);
  const std::int64_t n = shape_.n, width = std::int64_t{tile_vectors_} * table.lanes;
  constexpr std::int64_t line = line_bytes / std::int64_t{sizeof(T)};
  std::int64_t tile = block.tile;
  for (std::int64_t j = 0; j < n; j += width) {
    const std::int64_t columns = std::min(width, n - j);
    const int vectors = static_cast<int>(divide_up(columns, table.lanes));
    const int last = static_cast<int>(columns - std::int64_t{vectors - 1} * table.lanes);
    const T* panel = panels;
    for (std::int64_t i = 0; i < block.rows; i += tile_rows_, panel += panel_) {
      if (block.half == 1 && tile % batch_ == 0) {
        handover_->wait(tile / batch_, block.turn);
        // All at once: what another core wrote comes slowly one by one.
        const std::int64_t end = std::min(i + batch_ * tile_rows_, block.rows);
        for (std::int64_t r = i; r < end; ++r) {
          for (std::int64_t v = 0; v < columns; v += line) __builtin_prefetch(c + r * n + j + v, 1);
        }
      }
      const int rows = static_cast<int>(std::min<std::int64_t>(tile_rows_, block.rows - i));
      const auto add = table.find(LayoutA::columns, last < table.lanes, vectors, rows);
      add(block.depth, panel, tile_rows_, b + j, shape_.b_row, c + i * n + j, n, last,
          block.half == 1, {});
      ++tile;
      if (block.half == 0 && tile % batch_ == 0) handover_->pass(tile / batch_ - 1, block.turn);
    }
  }
}

}  // namespace blockgrad
