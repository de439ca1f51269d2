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

// `total` shared evenly by as few pieces of at most `largest` as there can be. Blocks are small,
// and short numbers are divided in less time.
struct Pieces {
  std::uint32_t count, least, longer;  // the first `longer` pieces have one more than `least`

  Pieces(std::uint32_t total, std::uint32_t largest)
      : count((total + largest - 1) / largest), least(total / count), longer(total % count) {}
  std::uint32_t size(std::uint32_t i) const { return least + (i < longer ? 1 : 0); }
};

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
  const std::int64_t row_step = a.layout == detail::LayoutA::rows ? a.ld : 1;
  const auto lanes = static_cast<std::uint32_t>(table_->lanes);
  const auto vectors = static_cast<std::uint32_t>((n + lanes - 1) / lanes);
  const Pieces strips(vectors, static_cast<std::uint32_t>(most_vectors_));
  std::int64_t column = 0;
  for (std::uint32_t s = 0; s < strips.count; ++s) {
    const auto width = static_cast<int>(strips.size(s));
    const std::int64_t end = column + std::int64_t{lanes} * width;
    const int last = end <= n ? static_cast<int>(lanes) : static_cast<int>(n - end + lanes);
    const Pieces tiles(static_cast<std::uint32_t>(m),
                       static_cast<std::uint32_t>(most_rows_[static_cast<std::size_t>(width - 1)]));
    const T* left = a.data;
    T* to = c + column;
    for (std::uint32_t t = 0; t < tiles.count; ++t) {
      const auto rows = static_cast<int>(tiles.size(t));
      table_->find(a.layout, last < table_->lanes, width, rows)(k, left, a.ld, b + column, ldb, to,
                                                                ldc, last, adds, {});
      left += rows * row_step;
      to += rows * ldc;
    }
    column = end;
  }
}

template class BlockProduct<float>;
template class BlockProduct<double>;

}  // namespace blockgrad
