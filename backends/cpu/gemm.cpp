#include "backends/cpu/gemm.h"

#include <algorithm>
#include <type_traits>

namespace blockgrad {

using detail::Ahead;
using detail::LayoutA;
using detail::TileKernels;

namespace {

template <class T>
const TileKernels<T>& table_of(const detail::GemmKernels& kernels) {
  if constexpr (std::is_same_v<T, float>) {
    return kernels.f32;
  } else {
    return kernels.f64;
  }
}

std::int64_t round_up(std::int64_t size, std::int64_t step) {
  return (size + step - 1) / step * step;
}

}  // namespace

/// Five loops around the tile: column block, slice of k (the sums wait in C), row block, strip,
/// tile. While a strip is computed, what the next one reads is packed, a part by each tile, and in
/// a large product brought near; during the last strip of a row block that is the next row block's
/// A.
template <class T>
struct Gemm::Walk {
  const Gemm& gemm;
  const TileKernels<T>& table;
  const T* a;
  const T* b;
  T* c;
  Range rows, columns, terms;
  T* packed_a;
  T* packed_b;

  // Where the loops are: columns jb .. je-1, `depth` elements of k from p, rows ib .. ie-1.
  std::int64_t jb = 0, je = 0, p = 0, depth = 0, ib = 0, ie = 0;
  const T* a_block = nullptr;
  std::int64_t lda = 0;
  bool packs_b = false;  // no row block before has packed it

  void run() {
    for (jb = columns.begin; jb < columns.end; jb = je) {
      je = std::min(jb + gemm.block_n_, columns.end);
      // At least once: an empty chain still writes its zeros.
      for (p = terms.begin; p == terms.begin || p < terms.end; p += gemm.block_k_) {
        depth = std::min(gemm.block_k_, terms.end - p);
        for (ib = rows.begin; ib < rows.end; ib = ie) {
          ie = std::min(ib + gemm.block_m_, rows.end);
          row_block();
        }
      }
    }
  }

  bool a_has_rows() const { return gemm.layout_a_ == LayoutA::rows; }
  const T* a_at(std::int64_t row, std::int64_t q) const {
    return a + (a_has_rows() ? row * gemm.lda_ + q : row + q * gemm.lda_);
  }
  const T* b_at(std::int64_t q, std::int64_t column) const {
    if (const std::int64_t panel = gemm.shape_.b_panel; panel > 0)
      return b + column / panel * panel * gemm.shape_.k + q * panel + column % panel;
    return b + (gemm.b_is_transposed_ ? q + column * gemm.ldb_ : q * gemm.ldb_ + column);
  }
  const Strip& strip_at(std::int64_t j) const {
    return j < gemm.shape_.n / gemm.main_.columns * gemm.main_.columns ? gemm.main_ : gemm.edge_;
  }
  std::int64_t width(const Strip& strip) const { return std::int64_t{strip.vectors} * table.lanes; }

  void row_block() {
    packs_b = gemm.packs_b_ && ib == rows.begin;
    a_block = a_at(ib, p);
    lda = gemm.lda_;
    if (gemm.packs_a_) {
      lda = gemm.packed_lda_;
      const bool is_wide = a_has_rows() || gemm.turns_a_;
      const auto pack = gemm.turns_a_ ? table.transpose : table.copy;
      pack(is_wide ? ie - ib : depth, is_wide ? depth : ie - ib, a_block, gemm.lda_, packed_a, lda);
      a_block = packed_a;
    }
    T* panel = packed_b;
    for (std::int64_t j = jb; j < je;) {
      const Strip& strip = strip_at(j);
      if (packs_b && (j == jb || !gemm.packs_ahead_)) pack_b(j, panel, 0, depth);
      walk_strip(strip, j, panel);
      panel = panel_after(strip, panel);
      j += strip.columns;
    }
  }

  /// Where the strip behind this one is packed. What no other row block reads is overwritten, so
  /// that it stays in a near cache: at once, or by the strip after the next if that is packed
  /// ahead.
  T* panel_after(const Strip& strip, T* panel) const {
    if (gemm.keeps_panels_) return panel + depth * width(strip);
    const bool is_second = panel != packed_b;
    return packed_b + (gemm.packs_ahead_ && !is_second ? depth * width(gemm.main_) : 0);
  }

  /// Rows first .. last-1 of the slice of B for the strip at j.
  void pack_b(std::int64_t j, T* panel, std::int64_t first, std::int64_t last) const {
    if (first >= last) return;
    const Strip& strip = strip_at(j);
    const auto pack = gemm.b_is_transposed_ ? table.transpose : table.copy;
    const std::int64_t ldb = width(strip);
    pack(last - first, strip.columns, b_at(p + first, j), gemm.ldb_, panel + first * ldb, ldb);
  }

  void walk_strip(const Strip& strip, std::int64_t j, T* panel) const {
    const std::int64_t n = gemm.shape_.n;
    const bool is_cut = strip.lanes < table.lanes;
    const LayoutA layout = gemm.turns_a_ ? LayoutA::rows : gemm.layout_a_;
    const T* const b_strip = gemm.packs_b_ ? panel : b_at(p, j);
    const std::int64_t ldb = gemm.packs_b_ ? width(strip) : gemm.ldb_;
    // Tiles of nearly equal height: a low one at the end would leave the sums waiting.
    const std::int64_t tiles = (ie - ib + strip.rows - 1) / strip.rows;
    const std::int64_t low = (ie - ib) / tiles;
    const std::int64_t higher = (ie - ib) % tiles;
    const std::int64_t next_j = j + strip.columns;
    const bool packs = packs_b && gemm.packs_ahead_ && next_j < je;
    const bool is_alike = !gemm.b_is_transposed_ && next_j < je && &strip_at(next_j) == &strip;
    T* const next_panel = panel_after(strip, panel);
    const std::int64_t share = share_of(tiles);
    std::int64_t i = ib;
    for (std::int64_t made = 0; made < tiles; ++made) {
      const std::int64_t size = low + (made < higher ? 1 : 0);
      const int height = static_cast<int>(size);
      const T* const a_tile = a_block + (i - ib) * (layout == LayoutA::rows ? lda : 1);
      T* const c_tile = c + i * n + j;
      auto tile = table.find(layout, is_cut, strip.vectors, height, gemm.fetches_ahead_);
      Ahead<T> ahead;
      if (gemm.fetches_ahead_ || packs) ahead = look_ahead(strip, j, i + size, panel, made, tiles);
      const auto packing = packs && is_alike && ahead.rows > 0
                               ? table.find_packing(layout, strip.vectors, height)
                               : nullptr;
      if (packing) {
        tile = packing;
        ahead.panel = next_panel + made * share * width(strip);
      }
      tile(depth, a_tile, lda, b_strip, ldb, c_tile, n, strip.lanes, p > 0, ahead);
      if (packs && !packing) {
        pack_b(next_j, next_panel, std::min(made * share, depth),
               std::min((made + 1) * share, depth));
      }
      i += size;
    }
  }

  static constexpr std::int64_t piece = detail::ahead_bytes / std::int64_t{sizeof(T)};

  /// Rows of the next panel that are packed after each tile.
  std::int64_t share_of(std::int64_t tiles) const {
    return round_up((depth + tiles - 1) / tiles, piece);
  }

  /// What comes after the tile number `made` of the strip at j, whose panel this is.
  Ahead<T> look_ahead(const Strip& strip, std::int64_t j, std::int64_t next_i, const T* panel,
                      std::int64_t made, std::int64_t tiles) const {
    const std::int64_t n = gemm.shape_.n;
    const std::int64_t next_j = j + strip.columns;
    Ahead<T> ahead;
    if (gemm.fetches_ahead_ && next_i < ie) ahead.c = c + next_i * n + j;
    else if (gemm.fetches_ahead_ && next_j < je) ahead.c = c + ib * n + next_j;
    if (next_j >= je) {
      look_ahead_to_a(ahead, made);
      return ahead;
    }
    const Strip& next = strip_at(next_j);
    const std::int64_t first = std::min(made * share_of(tiles), depth);
    ahead.rows = std::min(first + share_of(tiles), depth) - first;
    if (gemm.packs_b_ && !packs_b) {
      ahead.at = panel + depth * width(strip) + first * width(next);
      ahead.step = width(next);
    } else {
      ahead.at = b_at(p + first, next_j);
      ahead.step = gemm.ldb_;
      if (gemm.b_is_transposed_) ahead.rows = next.columns;
    }
    return ahead;
  }

  /// Pieces of rows of the next row block of A: as many of them as a tile has steps for.
  void look_ahead_to_a(Ahead<T>& ahead, std::int64_t made) const {
    if (ie >= rows.end) return;
    const std::int64_t next = std::min(gemm.block_m_, rows.end - ie);
    const std::int64_t wide = a_has_rows() ? depth : next;
    const std::int64_t high = a_has_rows() ? next : depth;
    const std::int64_t across = (wide + piece - 1) / piece;
    const std::int64_t column = made % across * piece;
    const std::int64_t row = made / across * (depth / 4);
    if (row >= high) return;
    ahead.at = a_has_rows() ? a_at(ie + row, p + column) : a_at(ie + column, p + row);
    ahead.step = gemm.lda_;
    ahead.rows = high - row;
  }
};

/// Whole blocks of rows at once, so that they read a panel together; others as far as they go.
template <class Do>
void Gemm::walk_row_blocks(std::int64_t first, std::int64_t last, const Do& walk) const {
  const std::int64_t across = parts_ / row_blocks_;
  while (first < last) {
    const std::int64_t block = first / across, from = first % across;
    const bool is_whole = from == 0 && last - first >= across;
    const std::int64_t blocks = is_whole ? (last - first) / across : 1;
    const std::int64_t to = is_whole ? across : std::min(across, from + last - first);
    const auto row = [&](std::int64_t b) { return shape_.m * b / row_blocks_; };
    const auto column = [&](std::int64_t part) {
      return std::min(units_ * part / across * main_.columns, shape_.n);
    };
    walk(Range{row(block), row(block + blocks)}, Range{column(from), column(to)});
    first += is_whole ? blocks * across : to - from;
  }
}

void Gemm::run(const void* a, const void* b, void* c, std::int64_t first, std::int64_t last,
               std::byte* scratch) const noexcept {
  // An empty chain reads neither operand, but even an unused offset needs memory to point into.
  if (shape_.k == 0) a = b = c;
  if (first >= last) return;
  if (is_swapped_) std::swap(a, b);
  const auto run_as = [&]<class T>(T) {
    const TileKernels<T>& table = table_of<T>(*kernels_);
    const T* const a_begin = static_cast<const T*>(a);
    const T* const b_begin = static_cast<const T*>(b);
    T* const c_begin = static_cast<T*>(c);
    if (path_ == Path::tile) {
      const Strip& strip = edge_.columns > 0 ? edge_ : main_;
      const auto tile = table.find(layout_a_, strip.lanes < table.lanes, strip.vectors,
                                   static_cast<int>(shape_.m));
      tile(shape_.k, a_begin, lda_, b_begin, ldb_, c_begin, shape_.n, strip.lanes, false, {});
      return;
    }
    const std::int64_t tile_size = parts_cut_rows_ ? main_.rows : main_.columns;
    const std::int64_t begin = units_ * first / parts_ * tile_size;
    const std::int64_t end = units_ * last / parts_ * tile_size;
    if (path_ == Path::dots) {
      table.row_dots(std::min(end, shape_.n) - begin, shape_.k, b_begin + begin * ldb_, ldb_,
                     a_begin, layout_a_ == LayoutA::rows ? 1 : lda_, c_begin + begin);
    } else if (path_ == Path::rows) {
      table.sum_rows(std::min(end, shape_.n) - begin, shape_.k, a_begin,
                     layout_a_ == LayoutA::rows ? 1 : lda_, b_begin + begin, ldb_, c_begin + begin);
    } else {
      T* const made = turns_c_ ? reinterpret_cast<T*>(scratch + scratch_c_) : c_begin;
      const auto walk = [&](Range rows, Range columns) {
        Walk<T>{*this,
                table,
                a_begin,
                b_begin,
                made,
                rows,
                columns,
                Range{0, shape_.k},
                reinterpret_cast<T*>(scratch),
                reinterpret_cast<T*>(scratch + scratch_b_)}
            .run();
        if (turns_c_) {
          table.transpose_exactly(columns.end - columns.begin, rows.end - rows.begin,
                                  made + rows.begin * shape_.n + columns.begin, shape_.n,
                                  c_begin + columns.begin * shape_.m + rows.begin, shape_.m);
        }
      };
      if (row_blocks_ > 1) {
        walk_row_blocks(first, last, walk);
      } else if (parts_cut_rows_) {
        walk({begin, std::min(end, shape_.m)}, {0, shape_.n});
      } else {
        walk({0, shape_.m}, {begin, std::min(end, shape_.n)});
      }
    }
  };
  if (shape_.type == GemmType::f32) {
    run_as(float());
  } else {
    run_as(double());
  }
}

void Gemm::run_slice(const void* a, const void* b, void* c, std::int64_t first, std::int64_t last,
                     std::int64_t first_p, std::int64_t last_p) const noexcept {
  // See run().
  if (shape_.k == 0) a = b = c;
  const auto run_as = [&]<class T>(T) {
    Walk<T>{*this,
            table_of<T>(*kernels_),
            static_cast<const T*>(a),
            static_cast<const T*>(b),
            static_cast<T*>(c),
            Range{first, last},
            Range{0, shape_.n},
            Range{first_p, last_p},
            nullptr,
            nullptr}
        .run();
  };
  if (shape_.type == GemmType::f32) run_as(float());
  else run_as(double());
}

}  // namespace blockgrad
