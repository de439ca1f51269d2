#include "backends/cpu/rows_product.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <tuple>
#include <type_traits>

#include "backends/cpu/cache_size.h"
#include "blockgrad/graph/error.h"

namespace blockgrad {

using detail::LayoutA;
using detail::TileKernels;

namespace {

std::int64_t divide_up(std::int64_t size, std::int64_t step) { return (size + step - 1) / step; }
std::int64_t round_up(std::int64_t size, std::int64_t step) { return divide_up(size, step) * step; }

template <class T>
const TileKernels<T>& table_of(const detail::GemmKernels& kernels) {
  if constexpr (std::is_same_v<T, float>) return kernels.f32;
  else return kernels.f64;
}

}  // namespace

bool RowsProduct::is_one(const GemmShape& shape) {
  constexpr std::int64_t most_terms = 1024;
  return shape.a_row == 1 && shape.b_col == 1 && shape.b_panel == 0 && shape.m > 0 && shape.n > 0 &&
         shape.k > 0 && shape.k <= most_terms;
}

RowsProduct::RowsProduct(const GemmShape& shape, std::int64_t beside, Isa isa)
    : shape_(shape), kernels_(&detail::gemm_kernels(isa)) {
  check_internal(is_one(shape), "rows of a product ", shape.m, "x", shape.n, "x", shape.k);
  const auto choose = [&](const auto& table) {
    choose_tiles(table);
    choose_rows(table, beside);
    describe(isa, std::int64_t{vectors_} * table.lanes);
  };
  if (shape.type == GemmType::f32) choose(kernels_->f32);
  else choose(kernels_->f64);
}

/// Those with the fewest cycles: two multiply-adds and two loads start per cycle, a sum waits four
/// cycles for itself, and a tile costs a call and its stores.
template <class T>
void RowsProduct::choose_tiles(const TileKernels<T>& table) {
  const std::int64_t all = divide_up(shape_.n, table.lanes);
  const auto tile_cycles = [&](std::int64_t high, std::int64_t wide) {
    const auto adds = static_cast<double>(high * wide), loads = static_cast<double>(high + wide);
    const double step = std::max({adds, loads, 8.0}) / 2 + 0.02 * loads;
    return static_cast<double>(shape_.k) * step + 12 + adds;
  };
  double best = std::numeric_limits<double>::infinity();
  for (int wide = 1; wide <= table.max_vectors; ++wide) {
    int high = std::clamp(table.accumulators / wide, 1, table.max_rows);
    while (high > 0 && !table.find(LayoutA::columns, false, wide, high)) --high;
    const int edge = static_cast<int>(all % wide);
    if (high == 0 || (edge > 0 && !table.find(LayoutA::columns, false, edge, high))) continue;
    double cycles = static_cast<double>(all / wide) * tile_cycles(high, wide);
    if (edge > 0) cycles += tile_cycles(high, edge);
    cycles *= static_cast<double>(divide_up(shape_.m, high));
    if (cycles >= best) continue;
    best = cycles;
    tile_rows_ = high;
    vectors_ = wide;
  }
}

/// What is done with the rows finds them in L1 if what it reads beside them lies in L2, else in L2.
template <class T>
void RowsProduct::choose_rows(const TileKernels<T>& table, std::int64_t beside) {
  constexpr std::int64_t first_cache = 32 * 1024, wide_row = 4096;
  const auto [m, n, k] = std::tuple(shape_.m, shape_.n, shape_.k);
  const std::int64_t size = sizeof(T), second_cache = detail::second_cache_bytes();
  const bool is_near = m * n * beside <= second_cache / 2;
  const std::int64_t room = is_near ? first_cache : second_cache / 4;
  const std::int64_t most = std::max(room / (n * (size + beside)), std::int64_t{tile_rows_});
  // An even number of times where these are few: equal shares for two threads.
  const std::int64_t times = round_up(divide_up(m, most / tile_rows_ * tile_rows_), 2);
  rows_ = std::min(m, round_up(divide_up(m, times), tile_rows_));
  // Many strips read a piece of A, many pieces of A read a strip of B.
  packs_a_ = n * size >= wide_row;
  packs_b_ = k * n * size > first_cache;
  // A line more than whole ones, so that panels do not meet in the same sets of the first cache;
  // what a whole vector of the last row writes fits into it.
  const std::int64_t line = 64 / size, width = std::int64_t{vectors_} * table.lanes;
  panel_ = (divide_up(k * tile_rows_, line) | 1) * line + 2 * line;
  if (packs_a_) scratch_b_ = static_cast<std::size_t>(divide_up(rows_, tile_rows_) * panel_ * size);
  scratch_ = scratch_b_;
  if (packs_b_) scratch_ += static_cast<std::size_t>(round_up(round_up(n, width) * k * size, 64));
}

void RowsProduct::describe(Isa isa, std::int64_t width) {
  const auto [m, n, k] = std::tuple(shape_.m, shape_.n, shape_.k);
  plan_.m = m;
  plan_.n = n;
  plan_.k = k;
  plan_.levels = {{Level::cache, rows_, n, k},
                  {Level::reg, std::min<std::int64_t>(tile_rows_, rows_), std::min(width, n), 1}};
  plan_.why = fmt::format("{}, A {}, B {}, {} times {} rows", isa_name(isa),
                          packs_a_ ? "packed" : "in place", packs_b_ ? "packed" : "in place",
                          divide_up(m, rows_), rows_);
  plan_.verify();
}

/// Strips of columns, tiles. A and B as the tiles read them: elements from a term to the next, and
/// from what one tile or strip reads to the next.
template <class T>
struct RowsProduct::Walk {
  const TileKernels<T>& table;
  std::int64_t n, k, tile_rows, width;
  const T* a;
  std::int64_t a_term, a_tile;
  const T* b;
  std::int64_t b_term, b_strip;

  void run(T* c, std::int64_t rows) const {
    const T* strip = b;
    for (std::int64_t j = 0; j < n; j += width, strip += b_strip) {
      const std::int64_t columns = std::min(width, n - j);
      const int vectors = static_cast<int>(divide_up(columns, table.lanes));
      const int last = static_cast<int>(columns - std::int64_t{vectors - 1} * table.lanes);
      const T* panel = a;
      for (std::int64_t i = 0; i < rows; i += tile_rows, panel += a_tile) {
        const int high = static_cast<int>(std::min(tile_rows, rows - i));
        const auto tile = table.find(LayoutA::columns, last < table.lanes, vectors, high);
        tile(k, panel, a_term, strip, b_term, c + i * n + j, n, last, false, {});
      }
    }
  }
};

void RowsProduct::begin(const void* b, std::byte* scratch) const {
  if (!packs_b_) return;
  const auto run_as = [&]<class T>(T) {
    const TileKernels<T>& table = table_of<T>(*kernels_);
    const std::int64_t width = std::int64_t{vectors_} * table.lanes;
    T* strip = reinterpret_cast<T*>(scratch + scratch_b_);
    for (std::int64_t j = 0; j < shape_.n; j += width, strip += width * shape_.k) {
      table.copy(shape_.k, std::min(width, shape_.n - j), static_cast<const T*>(b) + j,
                 shape_.b_row, strip, width);
    }
  };
  if (shape_.type == GemmType::f32) run_as(float());
  else run_as(double());
}

void RowsProduct::run(const void* a, const void* b, void* c, std::int64_t first, std::int64_t last,
                      std::byte* scratch) const {
  const auto run_as = [&]<class T>(T) {
    const TileKernels<T>& table = table_of<T>(*kernels_);
    const std::int64_t width = std::int64_t{vectors_} * table.lanes;
    Walk<T> walk{table,        shape_.n,   shape_.k,
                 tile_rows_,   width,      static_cast<const T*>(a) + first,
                 shape_.a_col, tile_rows_, static_cast<const T*>(b),
                 shape_.b_row, width};
    if (packs_a_) {
      T* const panels = reinterpret_cast<T*>(scratch);
      table.split_panels(shape_.k, last - first, walk.a, shape_.a_col, panels, tile_rows_, panel_);
      walk.a = panels;
      walk.a_term = tile_rows_;
      walk.a_tile = panel_;
    }
    if (packs_b_) {
      walk.b = reinterpret_cast<const T*>(scratch + scratch_b_);
      walk.b_term = width;
      walk.b_strip = width * shape_.k;
    }
    walk.run(static_cast<T*>(c), last - first);
  };
  if (shape_.type == GemmType::f32) run_as(float());
  else run_as(double());
}

}  // namespace blockgrad
