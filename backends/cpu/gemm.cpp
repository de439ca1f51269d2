#include "backends/cpu/gemm.h"

#include <algorithm>
#include <type_traits>

namespace blockgrad {

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
      const Range rows =
          parts_cut_rows_ ? Range{begin, std::min(end, shape_.m)} : Range{0, shape_.m};
      const Range columns =
          parts_cut_rows_ ? Range{0, shape_.n} : Range{begin, std::min(end, shape_.n)};
      T* const made = turns_c_ ? reinterpret_cast<T*>(scratch + scratch_c_) : c_begin;
      run_block<T>(table, a_begin, b_begin, made, rows, columns, scratch);
      if (turns_c_) {
        table.transpose_exactly(columns.end - columns.begin, rows.end - rows.begin,
                                made + rows.begin * shape_.n + columns.begin, shape_.n,
                                c_begin + columns.begin * shape_.m + rows.begin, shape_.m);
      }
    }
  };
  if (shape_.type == GemmType::f32) {
    run_as(float());
  } else {
    run_as(double());
  }
}

/// Five loops around the tile: column block, slice of k (the sums wait in C), row block, strip,
/// tile. While a strip is computed, what the next one reads is brought near and packed, a part
/// after each tile; during the last strip of a row block it is the next row block's A.
template <class T>
void Gemm::run_block(const TileKernels<T>& table, const T* a, const T* b, T* c, Range rows,
                     Range columns, std::byte* scratch) const noexcept {
  T* const packed_a = reinterpret_cast<T*>(scratch);
  T* const packed_b = reinterpret_cast<T*>(scratch + scratch_b_);
  constexpr std::int64_t piece = detail::ahead_bytes / std::int64_t{sizeof(T)};
  const std::int64_t n = shape_.n;
  const std::int64_t main_end = n / main_.columns * main_.columns;
  const bool a_has_rows = layout_a_ == LayoutA::rows;
  const std::int64_t lda = packs_a_ ? packed_lda_ : lda_;
  const std::int64_t row_step = a_has_rows ? lda : 1;

  for (std::int64_t jb = columns.begin; jb < columns.end; jb += block_n_) {
    const std::int64_t je = std::min(jb + block_n_, columns.end);
    // At least once: an empty chain still writes its zeros.
    for (std::int64_t p = 0; p == 0 || p < shape_.k; p += block_k_) {
      const std::int64_t depth = std::min(block_k_, shape_.k - p);
      // Rows first .. last-1 of the slice of B for the strip at j.
      const auto pack_b = [&](const Strip& strip, std::int64_t j, T* panel, std::int64_t first,
                              std::int64_t last) {
        if (first >= last) return;
        const std::int64_t ldb = std::int64_t{strip.vectors} * table.lanes;
        if (b_is_transposed_) {
          table.transpose(last - first, strip.columns, b + p + first + j * ldb_, ldb_,
                          panel + first * ldb, ldb);
        } else {
          table.copy(last - first, strip.columns, b + (p + first) * ldb_ + j, ldb_,
                     panel + first * ldb, ldb);
        }
      };
      for (std::int64_t ib = rows.begin; ib < rows.end; ib += block_m_) {
        const std::int64_t ie = std::min(ib + block_m_, rows.end);
        const bool packs_b = packs_b_ && ib == rows.begin;
        const T* a_block = a + (a_has_rows ? ib * lda_ + p : ib + p * lda_);
        if (packs_a_) {
          if (a_has_rows) {
            table.copy(ie - ib, depth, a_block, lda_, packed_a, lda);
          } else {
            table.copy(depth, ie - ib, a_block, lda_, packed_a, lda);
          }
          a_block = packed_a;
        }

        T* panel = packed_b;
        for (std::int64_t j = jb; j < je;) {
          const Strip& strip = j < main_end ? main_ : edge_;
          const std::int64_t next_j = j + strip.columns;
          const Strip& next = next_j < main_end ? main_ : edge_;
          const std::int64_t ldb = packs_b_ ? std::int64_t{strip.vectors} * table.lanes : ldb_;
          const T* const b_strip = packs_b_ ? panel : b + p * ldb_ + j;
          if (packs_b && (j == jb || !fetches_ahead_)) pack_b(strip, j, panel, 0, depth);
          panel += depth * ldb;

          // Tiles of nearly equal height: a low one at the end would leave the sums waiting.
          const std::int64_t height = ie - ib;
          const std::int64_t tiles = (height + strip.rows - 1) / strip.rows;
          const std::int64_t low = height / tiles;
          const std::int64_t share = !fetches_ahead_ ? depth
                                                     : round_up((depth + tiles - 1) / tiles,
                                                                b_is_transposed_ ? piece : 16);
          const bool is_cut = strip.lanes < table.lanes;
          std::int64_t i = ib;
          std::int64_t made = 0;
          const auto walk = [&](std::int64_t count, std::int64_t size) {
            if (count == 0) return;
            const auto tile = table.find(layout_a_, is_cut, strip.vectors, static_cast<int>(size),
                                         fetches_ahead_);
            for (const std::int64_t end = i + count * size; i < end; i += size, ++made) {
              T* const c_tile = c + i * n + j;
              detail::Ahead<T> ahead;
              const std::int64_t first = std::min(made * share, depth);
              const std::int64_t last = std::min(first + share, depth);
              if (fetches_ahead_) {
                if (i + size < ie) ahead.c = c_tile + size * n;
                else if (next_j < je) ahead.c = c + ib * n + next_j;
                if (next_j < je) {
                  if (packs_b_ && !packs_b) {
                    ahead.at = panel + first * next.vectors * table.lanes;
                    ahead.step = std::int64_t{next.vectors} * table.lanes;
                    ahead.rows = last - first;
                  } else if (b_is_transposed_) {
                    ahead.at = b + p + first + next_j * ldb_;
                    ahead.step = ldb_;
                    ahead.rows = next.columns;
                  } else {
                    ahead.at = b + (p + first) * ldb_ + next_j;
                    ahead.step = ldb_;
                    ahead.rows = last - first;
                  }
                } else if (ie < rows.end) {
                  // Pieces of rows of A: as many of them as there are steps for.
                  const std::int64_t wide = a_has_rows ? depth : std::min(block_m_, rows.end - ie);
                  const std::int64_t high = a_has_rows ? std::min(block_m_, rows.end - ie) : depth;
                  const std::int64_t across = (wide + piece - 1) / piece;
                  const std::int64_t column = made % across * piece;
                  const std::int64_t row = made / across * (depth / 4);
                  if (row < high) {
                    ahead.at = a + (a_has_rows ? (ie + row) * lda_ + p + column
                                               : ie + column + (p + row) * lda_);
                    ahead.step = lda_;
                    ahead.rows = high - row;
                  }
                }
              }
              tile(depth, a_block + (i - ib) * row_step, lda, b_strip, ldb, c_tile, n, strip.lanes,
                   p > 0, ahead);
              if (packs_b && fetches_ahead_ && next_j < je)
                pack_b(next, next_j, panel, first, last);
            }
          };
          walk(height % tiles, low + 1);
          walk(tiles - height % tiles, low);
          j = next_j;
        }
      }
    }
  }
}

}  // namespace blockgrad
