#include "backends/cpu/block_product.h"

#include <algorithm>
#include <type_traits>

namespace blockgrad {

namespace {

// The most rows of a tile of so many vectors.
template <class T>
int rows_of(const detail::TileKernels<T>& table, int vectors) {
  int rows = std::clamp(table.accumulators / vectors, 1, detail::TileKernels<T>::max_rows);
  while (rows > 1 && !table.find(detail::LayoutA::rows, false, vectors, rows)) --rows;
  return rows;
}

// Start of piece i of `pieces` that share `count` evenly.
std::int64_t start(std::int64_t count, std::int64_t pieces, std::int64_t i) {
  return count * i / pieces;
}

}  // namespace

template <class T>
BlockProduct<T>::BlockProduct(Isa isa) {
  if constexpr (std::is_same_v<T, float>) table_ = &detail::gemm_kernels(isa).f32;
  else table_ = &detail::gemm_kernels(isa).f64;
  // Few loads per multiply-add: (rows + vectors) / (rows * vectors).
  double best = 3;
  for (int vectors = 1; vectors <= static_cast<int>(most_rows_.size()); ++vectors) {
    const int rows = rows_of(*table_, vectors);
    most_rows_[static_cast<std::size_t>(vectors - 1)] = rows;
    const double loads = static_cast<double>(rows + vectors) / (rows * vectors);
    if (loads >= best || !table_->find(detail::LayoutA::rows, false, vectors, rows)) continue;
    best = loads;
    most_vectors_ = vectors;
  }
}

template <class T>
std::int64_t BlockProduct<T>::padded(std::int64_t columns) const {
  return (columns + table_->lanes - 1) / table_->lanes * table_->lanes;
}

// Strips of columns, then tiles down each strip; both of even sizes, so that no thin one is left.
template <class T>
void BlockProduct<T>::run(std::int64_t m, std::int64_t n, std::int64_t k, const BlockMatrix<T>& a,
                          const T* b, std::int64_t ldb, T* c, std::int64_t ldc,
                          bool adds) const noexcept {
  if (m <= 0 || n <= 0) return;
  const std::int64_t lanes = table_->lanes;
  const std::int64_t vectors = (n + lanes - 1) / lanes;
  const std::int64_t strips = (vectors + most_vectors_ - 1) / most_vectors_;
  const std::int64_t row_step = a.layout == detail::LayoutA::rows ? a.ld : 1;
  for (std::int64_t s = 0; s < strips; ++s) {
    const std::int64_t begin = start(vectors, strips, s), end = start(vectors, strips, s + 1);
    const int width = static_cast<int>(end - begin);
    const int last = static_cast<int>(std::min(n - (end - 1) * lanes, lanes));
    const std::int64_t most_rows = most_rows_[static_cast<std::size_t>(width - 1)];
    const std::int64_t tiles = (m + most_rows - 1) / most_rows;
    for (std::int64_t t = 0; t < tiles; ++t) {
      const std::int64_t i = start(m, tiles, t);
      const int rows = static_cast<int>(start(m, tiles, t + 1) - i);
      table_->find(a.layout, last < lanes, width, rows)(
          k, a.data + i * row_step, a.ld, b + begin * lanes, ldb, c + i * ldc + begin * lanes, ldc,
          last, adds, {});
    }
  }
}

template class BlockProduct<float>;
template class BlockProduct<double>;

}  // namespace blockgrad
