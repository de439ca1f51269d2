#include "backends/cpu/gemm.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "backends/cpu/cache_size.h"
#include "blockgrad/graph/error.h"

namespace blockgrad {

using detail::LayoutA;
using detail::TileKernels;

namespace {

std::int64_t divide_up(std::int64_t size, std::int64_t step) { return (size + step - 1) / step; }

std::int64_t round_up(std::int64_t size, std::int64_t step) { return divide_up(size, step) * step; }

constexpr std::int64_t l2_bytes = 1 << 20;

/// Rows of a packed block of A; a third more where that makes it a single one.
constexpr std::int64_t max_block_m(std::int64_t m, std::int64_t bytes_of_element) {
  return m * bytes_of_element <= 512 ? m : 384 / bytes_of_element;
}

/// Whether rows so far apart fall into few sets of a cache: their number of lines has a large power
/// of two in it.
bool is_bad_stride(std::int64_t bytes) { return bytes % 4096 == 0; }

}  // namespace

Gemm Gemm::make(const GemmShape& shape, Isa isa) {
  const auto [m, n, k, type, a_row, a_col, b_row, b_col, b_panel] = shape;
  check_internal(m >= 0 && n >= 0 && k >= 0, "matrix product: negative size ", m, "x", n, "x", k);
  check_internal(a_row == 1 || a_col == 1 || m <= 1 || k <= 1, "matrix product: strides of A are ",
                 a_row, ", ", a_col, ", expected a 1");
  check_internal(b_row == 1 || b_col == 1 || k <= 1 || n <= 1, "matrix product: strides of B are ",
                 b_row, ", ", b_col, ", expected a 1");
  check_internal(is_supported(isa), "matrix product: this processor has no ", isa_name(isa));

  const GemmShape swapped{n, m, k, type, b_col, b_row, a_col, a_row};
  if (b_panel > 0) {
    Gemm gemm = attempt(shape, isa, false);
    gemm.describe(isa);
    return gemm;
  }
  // One column of C is computed as one row of the transposed product: there the lanes are in use.
  if (n == 1 && m > 1) {
    GemmShape row = swapped;
    row.a_row = 1;
    Gemm gemm = attempt(row, isa, false);
    gemm.is_swapped_ = true;
    gemm.describe(isa);
    return gemm;
  }
  Gemm gemm = attempt(shape, isa, false);
  const std::int64_t c_bytes = m * n * (type == GemmType::f32 ? 4 : 8);
  if (m > 1 && n > 1 && k > 0 && c_bytes <= l2_bytes / 2) {
    Gemm turned = attempt(swapped, isa, true);
    turned.is_swapped_ = true;
    if (turned.cost_ < gemm.cost_) gemm = std::move(turned);
  }
  gemm.describe(isa);
  return gemm;
}

Gemm Gemm::attempt(const GemmShape& shape, Isa isa, bool turns_c) {
  Gemm gemm;
  gemm.shape_ = shape;
  gemm.turns_c_ = turns_c;
  gemm.kernels_ = &detail::gemm_kernels(isa);
  if (shape.type == GemmType::f32) {
    gemm.choose(gemm.kernels_->f32);
  } else {
    gemm.choose(gemm.kernels_->f64);
  }
  return gemm;
}

template <class T>
void Gemm::choose(const TileKernels<T>& table) {
  const GemmShape& s = shape_;
  layout_a_ = s.a_col == 1 || s.k <= 1 ? LayoutA::rows : LayoutA::columns;
  lda_ = layout_a_ == LayoutA::rows ? s.a_row : s.a_col;
  b_is_transposed_ = s.b_col != 1 && s.n > 1;
  ldb_ = b_is_transposed_ ? s.b_col : s.b_row;
  choose_packing(table);
  choose_strips(table);
  choose_blocks(table);
  choose_parts();
}

/// A tile reads a piece of every row of a transposed A. Prefetchers that stay within a page do not
/// follow where the rows are long, and the lines of all k rows meet in few sets of the caches.
bool Gemm::jumps(std::int64_t a_bytes, std::int64_t size) const {
  if (layout_a_ != LayoutA::columns) return false;
  const std::int64_t near = detail::second_cache_bytes();
  return a_bytes > (lda_ * size >= 1024 ? near / 8 : near / 2);
}

/// Whether the rows of a transposed A meet in so few sets of L1 that a tile finds nothing of the
/// lines that the tile above has read.
bool Gemm::crowds(std::int64_t size) const {
  constexpr std::int64_t sets = 64, ways = 12, line = 64;
  if (layout_a_ != LayoutA::columns || lda_ * size % line != 0) return false;
  return shape_.k > 2 * ways * (sets / std::gcd(lda_ * size / line, sets));
}

/// Operands are packed where their rows meet in few sets of the caches or are larger than these, if
/// they are read more than once; a transposed B always is. What is not transposed is packed beside
/// the sums of the strip before, which costs next to nothing: many rows of C earn that for what may
/// lie in a far cache, and many columns that a packed A is transposed.
template <class T>
void Gemm::choose_packing(const TileKernels<T>& table) {
  const GemmShape& s = shape_;
  const std::int64_t size = sizeof(T);
  const std::int64_t a_bytes = s.m * s.k * size;
  const std::int64_t b_bytes = s.k * s.n * size;
  const std::int64_t c_bytes = s.m * s.n * size;
  const bool is_far_a =
      a_bytes > l2_bytes ||
      (is_bad_stride(lda_ * size) && a_bytes > detail::second_cache_bytes() / 2) ||
      (crowds(size) && (s.n * size >= 2048 || s.m * size >= 1024));  // also a half of two threads
  packs_a_ = s.m > 16 && ((s.n * size >= 1024 && is_far_a) || (s.n > 16 && jumps(a_bytes, size)));
  fetches_ahead_ = a_bytes + b_bytes + c_bytes > 4 * l2_bytes && s.m > 1;
  const bool is_large = b_bytes > l2_bytes;
  const bool is_far = is_large || is_bad_stride(ldb_ * size);
  const bool is_read_often = s.m > table.max_rows;
  const bool has_strips = s.m >= 384 && s.n * size >= 1024 && b_bytes > l2_bytes / 8;
  packs_b_ = b_is_transposed_ || (is_read_often && is_far) || has_strips;
  packs_ahead_ = packs_b_ && (fetches_ahead_ || !b_is_transposed_);

  if (s.b_panel > 0) packs_a_ = packs_b_ = packs_ahead_ = fetches_ahead_ = false;
  turns_a_ = packs_a_ && layout_a_ == LayoutA::columns && s.n * size >= 1024;

  const double elements = 1.0 / table.lanes;  // that a copy moves per cycle, the other way round
  if (b_is_transposed_) cost_ += 6 * elements * static_cast<double>(s.k * s.n);
  if (packs_a_) cost_ += 2 * elements * static_cast<double>(s.m * s.k);
  if (turns_c_) cost_ += 60 + 5 * elements * static_cast<double>(s.m * s.n);
}

/// Cycles of one tile, relative to others: two multiply-adds and two loads start per cycle, a sum
/// waits four cycles for itself, and a tile costs a call and the traffic of its sums. A strip of B
/// that L1 does not hold comes with 28 bytes per cycle, from afar with 18.
double Gemm::tile_cycles(int rows, int vectors) const {
  const double adds = rows * vectors / 2.0;
  const double loads = (rows + vectors) / 2.0;
  double step = std::max({adds, loads, 4.0}) + 0.02 * loads;
  const std::int64_t strip_bytes = shape_.k * vectors * 64;
  if (strip_bytes > 32768)
    step = std::max(step, vectors * 64 / (fetches_ahead_ && !packs_b_ ? 18.0 : 28.0));
  // Rows of A that lie in one line of the cache.
  if (layout_a_ == LayoutA::columns && !turns_a_ && 16 % rows != 0) step += packs_a_ ? 0.6 : 0.1;
  return static_cast<double>(shape_.k) * step + 12 + rows * vectors;
}

/// A column of tiles of at most `rows` rows, all of nearly equal height.
double Gemm::column_cycles(int rows, int vectors) const {
  if (shape_.m == 0) return 0;
  const std::int64_t tiles = divide_up(shape_.m, rows);
  const int low = static_cast<int>(shape_.m / tiles);
  const auto higher = static_cast<double>(shape_.m % tiles);
  double cycles = (static_cast<double>(tiles) - higher) * tile_cycles(low, vectors);
  if (higher > 0) cycles += higher * tile_cycles(low + 1, vectors);
  return cycles;
}

/// The cheapest tiles for one strip of fewer columns than the main strips have; adds their cycles.
template <class T>
Gemm::Strip Gemm::choose_edge(const TileKernels<T>& table, std::int64_t columns,
                              double& cost) const {
  if (columns == 0) return {};
  Strip edge;
  edge.columns = columns;
  edge.vectors = static_cast<int>(divide_up(columns, table.lanes));
  edge.lanes = static_cast<int>(columns - std::int64_t{edge.vectors - 1} * table.lanes);
  double best = std::numeric_limits<double>::infinity();
  const int most = static_cast<int>(std::clamp<std::int64_t>(shape_.m, 1, table.max_rows));
  for (int rows = 1; rows <= most; ++rows) {
    if (!table.find(LayoutA::rows, edge.lanes < table.lanes, edge.vectors, rows)) continue;
    const double cycles = column_cycles(rows, edge.vectors);
    if (cycles < best) {
      best = cycles;
      edge.rows = rows;
    }
  }
  cost += best;
  return edge;
}

template <class T>
void Gemm::choose_strips(const TileKernels<T>& table) {
  double best = std::numeric_limits<double>::infinity();
  const int most = static_cast<int>(std::clamp<std::int64_t>(shape_.m, 1, table.max_rows));
  for (int vectors = 1; vectors <= table.max_vectors; ++vectors) {
    const std::int64_t width = std::int64_t{vectors} * table.lanes;
    if (shape_.b_panel % width != 0) continue;
    for (int rows = 1; rows <= most; ++rows) {
      if (!table.find(LayoutA::rows, false, vectors, rows)) continue;
      const std::int64_t strips = shape_.n / width;
      double cycles = static_cast<double>(strips) * column_cycles(rows, vectors);
      const Strip edge = choose_edge(table, shape_.n - strips * width, cycles);
      if (cycles < best) {
        best = cycles;
        main_ = {width, vectors, rows, table.lanes};
        edge_ = edge;
      }
    }
  }
  cost_ += best;
  // Only an edge: it is the strip that the plan shows.
  if (shape_.n < main_.columns && edge_.rows > 0) main_.rows = edge_.rows;
}

/// A block of A and a panel of B, and the next ones of both, fill most of a small L2.
template <class T>
void Gemm::choose_blocks(const TileKernels<T>& table) {
  const GemmShape& s = shape_;
  const std::int64_t size = sizeof(T);
  const bool streams =
      s.m == 1 && !b_is_transposed_ && s.b_panel == 0 && s.k * s.n * size > l2_bytes / 4;
  if (s.m == 1 && (b_is_transposed_ || streams)) {
    path_ = streams ? Path::rows : Path::dots;
    main_ = {streams ? 4 * table.lanes : table.dot_rows, 1, 1, table.lanes};
    edge_ = {};
    block_m_ = 1;
    block_n_ = s.n;
    block_k_ = s.k;
    return;
  }
  const std::int64_t max_k = s.k <= 800 ? 800 : 512;
  const std::int64_t max_m = max_block_m(s.m, size);
  const std::int64_t max_n = 4096;
  const std::int64_t k_blocks = std::max<std::int64_t>(1, divide_up(s.k, max_k));
  block_k_ = k_blocks == 1 ? std::max<std::int64_t>(s.k, 1) : round_up(divide_up(s.k, k_blocks), 8);
  const std::int64_t m_blocks = packs_a_ ? std::max<std::int64_t>(1, divide_up(s.m, max_m)) : 1;
  block_m_ = std::min(s.m, round_up(divide_up(s.m, m_blocks), std::max(1, main_.rows)));
  block_n_ = std::min(s.n, round_up(max_n, main_.columns));

  const bool is_tile = !turns_c_ && !packs_a_ && !packs_b_ && k_blocks == 1 && s.m <= main_.rows &&
                       s.n <= main_.columns && s.m > 0 && s.n > 0;
  path_ = is_tile ? Path::tile : Path::blocks;
  const auto bytes_64 = [](std::int64_t elements) { return round_up(elements * size, 64); };
  // An odd number of lines, so that its rows lie in all sets of a cache.
  const bool has_rows = turns_a_ || layout_a_ == LayoutA::rows;
  packed_lda_ = has_rows ? round_up(block_k_, table.lanes) + 64 / size
                         : (round_up(block_m_ * size, 64) | 64) / size;
  const std::int64_t packed_rows = has_rows ? block_m_ : block_k_;
  const std::int64_t bytes_a = packs_a_ ? bytes_64(packed_rows * packed_lda_) : 0;
  keeps_panels_ = m_blocks > 1;
  const std::int64_t panels = !packs_b_       ? 0
                              : keeps_panels_ ? divide_up(block_n_, main_.columns)
                                              : std::int64_t{packs_ahead_} + 1;
  const std::int64_t bytes_b = bytes_64(panels * block_k_ * main_.columns);
  scratch_b_ = static_cast<std::size_t>(bytes_a);
  scratch_c_ = static_cast<std::size_t>(bytes_a + bytes_b);
  scratch_ = scratch_c_ + static_cast<std::size_t>(turns_c_ ? bytes_64(s.m * s.n) : 0);
}

/// Parts of at least 2^17 multiply-adds, 64 at most: whole strips or rows of tiles, whichever has
/// two threads end sooner.
void Gemm::choose_parts() {
  if (shape_.m == 0 || shape_.n == 0) return;
  const double work =
      static_cast<double>(shape_.m) * static_cast<double>(shape_.n) * static_cast<double>(shape_.k);
  const std::int64_t strips = divide_up(shape_.n, main_.columns);
  const std::int64_t tiles = divide_up(shape_.m, main_.rows);
  // What the larger half has of all, and what both halves pack: of rows all of B, of columns all of
  // A. Those of columns write neighbouring pieces of rows, and take lines from each other's caches.
  // A B from afar costs more the more threads copy it: rows have to be many.
  const auto m = static_cast<double>(shape_.m), n = static_cast<double>(shape_.n);
  const std::int64_t b_bytes = shape_.k * shape_.n * (shape_.type == GemmType::f32 ? 4 : 8);
  const double cost_of_b = b_bytes > 2 * l2_bytes ? (b_is_transposed_ ? 40 : 20)
                           : b_is_transposed_ || b_bytes > l2_bytes / 4 ? 8
                                                                        : 2;
  const double twice_b = packs_b_ ? cost_of_b / m : 0;
  const double twice_a = packs_a_ ? (turns_a_ ? 6 : 2) / n : 0;
  const auto half = [](std::int64_t units, int size, double all) {
    return std::min(1.0, static_cast<double>(divide_up(units, 2) * size) / all);
  };
  const double by_rows = half(tiles, main_.rows, m) + twice_b;
  const double by_columns = half(strips, static_cast<int>(main_.columns), n) + twice_a + 0.02;
  const bool is_one_row = path_ == Path::rows || path_ == Path::dots;
  parts_cut_rows_ = !is_one_row && by_rows < by_columns;
  units_ = parts_cut_rows_ ? tiles : strips;
  const std::int64_t wanted = static_cast<std::int64_t>(std::min(work / 131072, 64.0));
  if (shape_.b_panel > 0) {
    choose_row_blocks();
    parts_cut_rows_ = false;
    units_ = strips;
  }
  parts_ = std::clamp<std::int64_t>(wanted / row_blocks_, 1, units_) * row_blocks_;
  // So that two threads and four get equal shares.
  if (parts_ > 8 && row_blocks_ == 1) parts_ -= parts_ % 4;
}

/// What reads shared panels is a link of a chain, as the products of a recurrent net, whose other
/// links are cut by rows: threads that keep to their rows pass nothing to each other. Each reads
/// all of the panels then, so these have to come from a cache.
void Gemm::choose_row_blocks() {
  constexpr std::int64_t least_rows = 16;
  const std::int64_t bytes = shape_.k * shape_.n * (shape_.type == GemmType::f32 ? 4 : 8);
  if (bytes <= 4 * l2_bytes) row_blocks_ = std::max<std::int64_t>(1, shape_.m / least_rows);
}

void Gemm::describe(Isa isa) {
  plan_.m = shape_.m;
  plan_.n = shape_.n;
  plan_.k = shape_.k;
  plan_.levels = {{Level::cache, block_m_, block_n_, std::min(block_k_, shape_.k)},
                  {Level::reg, std::min<std::int64_t>(main_.rows, shape_.m),
                   std::min(main_.columns, shape_.n), std::min<std::int64_t>(1, shape_.k)}};
  if (is_swapped_) {
    std::swap(plan_.m, plan_.n);
    for (Block& block : plan_.levels) std::swap(block.m, block.n);
  }
  plan_.why = fmt::format("{}, A {}, B {}, {} part{}", isa_name(isa),
                          (is_swapped_ ? packs_b_ : packs_a_) ? "packed" : "in place",
                          shape_.b_panel > 0                    ? "in panels"
                          : (is_swapped_ ? packs_a_ : packs_b_) ? "packed"
                                                                : "in place",
                          parts_, parts_ == 1 ? "" : "s");
  if (turns_c_) plan_.why += ", made transposed";
  plan_.verify();
}

}  // namespace blockgrad
