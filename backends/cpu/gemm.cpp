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
      tile(shape_.k, a_begin, lda_, b_begin, ldb_, c_begin, shape_.n, strip.lanes, false);
      return;
    }
    const std::int64_t tile_size = parts_cut_rows_ ? main_.rows : main_.columns;
    const std::int64_t begin = units_ * first / parts_ * tile_size;
    const std::int64_t end = units_ * last / parts_ * tile_size;
    if (path_ == Path::dots) {
      table.row_dots(std::min(end, shape_.n) - begin, shape_.k, b_begin + begin * ldb_, ldb_,
                     a_begin, layout_a_ == LayoutA::rows ? 1 : lda_, c_begin + begin);
    } else if (parts_cut_rows_) {
      run_block<T>(table, a_begin, b_begin, c_begin, {begin, std::min(end, shape_.m)},
                   {0, shape_.n}, scratch);
    } else {
      run_block<T>(table, a_begin, b_begin, c_begin, {0, shape_.m},
                   {begin, std::min(end, shape_.n)}, scratch);
    }
  };
  if (shape_.type == GemmType::f32) {
    run_as(float());
  } else {
    run_as(double());
  }
}

/// Five loops around the tile: column block, slice of k (the sums wait in C), row block, strip,
/// tile. A panel of B is packed when the first row block reaches it, so that it is still in L1.
template <class T>
void Gemm::run_block(const TileKernels<T>& table, const T* a, const T* b, T* c, Range rows,
                     Range columns, std::byte* scratch) const noexcept {
  T* const packed_a = reinterpret_cast<T*>(scratch);
  T* const packed_b = reinterpret_cast<T*>(scratch + scratch_b_);
  const std::int64_t n = shape_.n;
  const std::int64_t main_end = n / main_.columns * main_.columns;
  const std::int64_t packed_lda = round_up(block_k_, table.lanes) + 64 / std::int64_t{sizeof(T)};

  for (std::int64_t jb = columns.begin; jb < columns.end; jb += block_n_) {
    const std::int64_t je = std::min(jb + block_n_, columns.end);
    // At least once: an empty chain still writes its zeros.
    for (std::int64_t p = 0; p == 0 || p < shape_.k; p += block_k_) {
      const std::int64_t depth = std::min(block_k_, shape_.k - p);
      for (std::int64_t ib = rows.begin; ib < rows.end; ib += block_m_) {
        const std::int64_t ie = std::min(ib + block_m_, rows.end);
        const bool a_has_rows = layout_a_ == LayoutA::rows;
        const T* a_block = a + (a_has_rows ? ib * lda_ + p : ib + p * lda_);
        std::int64_t lda = lda_;
        LayoutA layout = layout_a_;
        if (packs_a_) {
          const auto pack = a_has_rows ? table.copy : table.transpose;
          pack(ie - ib, depth, a_block, lda_, packed_a, packed_lda);
          a_block = packed_a;
          lda = packed_lda;
          layout = LayoutA::rows;
        }
        const std::int64_t row_step = layout == LayoutA::rows ? lda : 1;

        T* panel = packed_b;
        for (std::int64_t j = jb; j < je;) {
          const Strip& strip = j < main_end ? main_ : edge_;
          const T* b_strip = b + (b_is_transposed_ ? p + j * ldb_ : p * ldb_ + j);
          std::int64_t ldb = ldb_;
          if (packs_b_) {
            ldb = std::int64_t{strip.vectors} * table.lanes;
            if (ib == rows.begin) {
              const auto pack = b_is_transposed_ ? table.transpose : table.copy;
              pack(depth, strip.columns, b_strip, ldb_, panel, ldb);
            }
            b_strip = panel;
            panel += depth * ldb;
          }
          const bool is_cut = strip.lanes < table.lanes;
          const auto tile = table.find(layout, is_cut, strip.vectors, strip.rows);
          std::int64_t i = ib;
          for (; i + strip.rows <= ie; i += strip.rows) {
            tile(depth, a_block + (i - ib) * row_step, lda, b_strip, ldb, c + i * n + j, n,
                 strip.lanes, p > 0);
          }
          if (i < ie) {
            const auto last = table.find(layout, is_cut, strip.vectors, static_cast<int>(ie - i));
            last(depth, a_block + (i - ib) * row_step, lda, b_strip, ldb, c + i * n + j, n,
                 strip.lanes, p > 0);
          }
          j += strip.columns;
        }
      }
    }
  }
}

}  // namespace blockgrad
