#include "backends/cpu/weight_product.h"

#include <algorithm>
#include <limits>
#include <type_traits>
#include <utility>

#include "backends/cpu/cache_size.h"
#include "backends/cpu/prefetch.h"

namespace blockgrad {

using detail::LayoutA;
using detail::TileKernels;

namespace {

std::int64_t divide_up(std::int64_t size, std::int64_t step) { return (size + step - 1) / step; }

/// Elements of a cache line.
template <class T>
constexpr std::int64_t line = 64 / std::int64_t{sizeof(T)};

/// Whether rows so far apart meet in few sets of the caches.
bool is_bad_stride(std::int64_t bytes) { return bytes % 4096 == 0; }

std::int64_t size_of(GemmType type) { return type == GemmType::f32 ? 4 : 8; }

template <class T>
const TileKernels<T>& table_of(const detail::GemmKernels& kernels) {
  if constexpr (std::is_same_v<T, float>) return kernels.f32;
  else return kernels.f64;
}

}  // namespace

bool WeightProduct::is_worth_it(const GemmShape& shape) {
  // Of multiply-adds: some ten microseconds for each of two threads.
  constexpr double least_work = 2e6;
  constexpr std::int64_t most_depth = 1024, few_columns = 12;
  const auto [m, n, k, type, a_row, a_col, b_row, b_col, b_panel] = shape;
  const bool sums_rows = a_row == 1 && a_col >= m && b_col == 1 && b_panel == 0;
  if (!sums_rows || m < 2 || n < 2 || k / 2 > most_depth) return false;
  // Cut along the longer side, a thread reads a quarter of the longer operand and half of the other
  // one from afar. The result, which changes hands here, is to be little more than half of that.
  const std::int64_t longer = std::max(m, n), shorter = std::min(m, n);
  const bool spares_reads = k * (longer + 2 * shorter) >= 7 * m * n;
  // Of few columns A is read once, so it does not need to stay.
  const std::int64_t size = size_of(type);
  const bool is_narrow = n <= few_columns;
  const bool stays = k / 2 * (is_narrow ? n : m + n) * size <= detail::second_cache_bytes();
  const bool spreads = is_narrow || (!is_bad_stride(a_col * size) && !is_bad_stride(b_row * size));
  return spares_reads && static_cast<double>(m * n) * static_cast<double>(k) >= least_work &&
         stays && spreads;
}

WeightProduct::WeightProduct(const GemmShape& shape, Isa isa)
    : shape_(shape), kernels_(&detail::gemm_kernels(isa)) {
  if (shape.type == GemmType::f32) choose(kernels_->f32);
  else choose(kernels_->f64);
}

/// Those with the fewest cycles: two multiply-adds and two loads start per cycle, and a sum waits
/// four cycles for itself.
template <class T>
WeightProduct::Tiles WeightProduct::best_tiles(const TileKernels<T>& table,
                                               const GemmShape& shape) {
  const std::int64_t vectors = divide_up(shape.n, table.lanes);
  const auto step_cycles = [](std::int64_t rows, std::int64_t width) {
    return static_cast<double>(std::max({rows * width, rows + width, std::int64_t{8}})) / 2;
  };
  Tiles best{.cycles = std::numeric_limits<double>::infinity()};
  for (int width = 1; width <= table.max_vectors; ++width) {
    int rows = std::clamp(table.accumulators / width, 1, table.max_rows);
    while (rows > 0 && !table.find(LayoutA::columns, false, width, rows)) --rows;
    const int edge = static_cast<int>(vectors % width);
    if (rows == 0 || (edge > 0 && !table.find(LayoutA::columns, false, edge, rows))) continue;
    const auto strip_cycles = [&](std::int64_t columns) {
      const auto height = static_cast<double>(shape.m / rows);
      const std::int64_t low = shape.m % rows;
      return height * step_cycles(rows, columns) + (low > 0 ? step_cycles(low, columns) : 0);
    };
    double cycles = static_cast<double>(vectors / width) * strip_cycles(width);
    if (edge > 0) cycles += strip_cycles(edge);
    cycles *= static_cast<double>(shape.k);
    if (cycles < best.cycles) best = {rows, width, cycles};
  }
  return best;
}

template <class T>
void WeightProduct::choose(const TileKernels<T>& table) {
  const GemmShape& s = shape_;
  tiles_ = best_tiles(table, s);
  const GemmShape turned{s.n, s.m, s.k, s.type, s.b_col, s.b_row, s.a_col, s.a_row};
  const Tiles turned_tiles = best_tiles(table, turned);
  constexpr double gain = 0.9;  // of the time, to be worth it
  const double turning = 6.0 / table.lanes * static_cast<double>(s.m * s.n);
  if (turned_tiles.cycles + turning < gain * tiles_.cycles) {
    is_turned_ = true;
    tiles_ = turned_tiles;
    shape_ = turned;
    shared_ = static_cast<std::size_t>(s.m * s.n) * sizeof(T);
  }
  // Pieces of rows of A of some lines, and a copy that stays near.
  constexpr std::int64_t block_rows = 64;
  block_rows_ = divide_up(block_rows, tiles_.rows) * tiles_.rows;
  // A line more than whole ones, so that panels do not meet in the same sets of the first cache;
  // what a whole vector of the last row writes fits into it.
  const std::int64_t depth = shape_.k - shape_.k / 2;
  panel_ = (divide_up(depth * tiles_.rows, line<T>) | 1) * line<T> + 2 * line<T>;
  const std::int64_t panels = block_rows_ / tiles_.rows;
  scratch_ = static_cast<std::size_t>(panels * panel_) * sizeof(T);
  // The second half is a batch behind: few tiles, but more than a line takes to come.
  constexpr std::int64_t least_tiles = 2, most_batches = 96;
  const std::int64_t strips = divide_up(shape_.n, std::int64_t{tiles_.vectors} * table.lanes);
  const std::int64_t tiles = divide_up(shape_.m, tiles_.rows) * strips;
  batch_ = std::max(least_tiles, divide_up(tiles, most_batches));
  handover_ = std::make_shared<Handover>(divide_up(tiles, batch_));
}

/// One half: blocks of rows of C, strips of columns, tiles.
template <class T>
struct WeightProduct::Walk {
  const WeightProduct& product;
  const TileKernels<T>& table;
  int half;
  std::uint64_t turn;
  const T *a, *b;
  T *c, *panels;
  T* turned_c;  // the result, if C is its transpose
  std::int64_t depth;
  std::int64_t made = 0;  // tiles

  void run() {
    const GemmShape& s = product.shape_;
    for (std::int64_t row = 0; row < s.m; row += product.block_rows_) {
      const std::int64_t rows = std::min(product.block_rows_, s.m - row);
      table.split_panels(depth, rows, a + row, s.a_col, panels, product.tiles_.rows,
                         product.panel_);
      const std::int64_t width = std::int64_t{product.tiles_.vectors} * table.lanes;
      for (std::int64_t j = 0; j < s.n; j += width)
        add_strip(row, row + rows, j, std::min(width, s.n - j));
    }
    if (half == 0) product.handover_->pass(product.handover_->blocks() - 1, turn);
  }

  void add_strip(std::int64_t row, std::int64_t end, std::int64_t j, std::int64_t columns) {
    const std::int64_t n = product.shape_.n, most = product.tiles_.rows;
    const int vectors = static_cast<int>(divide_up(columns, table.lanes));
    const int last = static_cast<int>(columns - std::int64_t{vectors - 1} * table.lanes);
    const T* panel = panels;
    for (std::int64_t i = row; i < end; i += most, panel += product.panel_) {
      if (half == 1 && made % product.batch_ == 0)
        receive(i, std::min(i + product.batch_ * most, end), j, columns);
      const int rows = static_cast<int>(std::min(most, end - i));
      const auto add = table.find(LayoutA::columns, last < table.lanes, vectors, rows);
      add(depth, panel, most, b + j, product.shape_.b_row, c + i * n + j, n, last, half == 1, {});
      ++made;
      if (half == 0 && made % product.batch_ == 0)
        product.handover_->pass(made / product.batch_ - 1, turn);
      if (half == 1 && turned_c) {
        const std::int64_t m = product.shape_.m;
        table.transpose_exactly(columns, rows, c + i * n + j, n, turned_c + j * m + i, m);
      }
    }
  }

  /// Waits for a batch and fetches what this strip has of it, all at once: what another core wrote
  /// comes slowly one by one.
  void receive(std::int64_t row, std::int64_t end, std::int64_t j, std::int64_t columns) const {
    product.handover_->wait(made / product.batch_, turn);
    for (std::int64_t r = row; r < end; ++r)
      prefetch_to_write(c + r * product.shape_.n + j, columns * std::int64_t{sizeof(T)});
  }
};

void WeightProduct::run(int half, std::uint64_t turn, const void* a, const void* b, void* c,
                        std::byte* scratch, std::byte* shared) const {
  if (is_turned_) std::swap(a, b);
  const std::int64_t split = shape_.k / 2, first = half == 0 ? 0 : split;
  const auto run_as = [&]<class T>(T) {
    T* const result = static_cast<T*>(c);
    Walk<T>{*this,
            table_of<T>(*kernels_),
            half,
            turn,
            static_cast<const T*>(a) + first * shape_.a_col,
            static_cast<const T*>(b) + first * shape_.b_row,
            is_turned_ ? reinterpret_cast<T*>(shared) : result,
            reinterpret_cast<T*>(scratch),
            is_turned_ ? result : nullptr,
            half == 0 ? split : shape_.k - split}
        .run();
  };
  if (shape_.type == GemmType::f32) run_as(float());
  else run_as(double());
}

}  // namespace blockgrad
