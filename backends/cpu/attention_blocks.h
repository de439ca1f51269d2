#pragma once
// What attention and its gradient share on the CPU: where the matrices lie, how queries and keys
// are cut into blocks, and how a block of scores is made. Cut by shape alone.

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "backends/cpu/attention_rows.h"
#include "backends/cpu/block_product.h"
#include "backends/cpu/tape.h"
#include "backends/kernel.h"

namespace blockgrad {

/// A batch of matrices: where each begins, in elements, and the step from row to row.
struct Matrices {
  std::vector<std::int64_t> starts;
  std::int64_t row = 0;

  Matrices() = default;
  explicit Matrices(const Layout& layout);
};

/// Blocks that share `count` rows evenly; all are multiples of 16 but the last.
struct BlockCut {
  std::int64_t size = 1, blocks = 0;

  BlockCut() = default;
  BlockCut(std::int64_t count, std::int64_t largest);
};

/// The blocks of one of `groups` equal parts of the work. Later queries see more keys, so every
/// other run of blocks is dealt out backwards.
class BlockGroup {
 public:
  BlockGroup(std::int64_t blocks, std::int64_t groups, std::int64_t group)
      : blocks_(blocks), groups_(groups), group_(group) {}
  std::int64_t count() const { return (blocks_ + groups_ - 1) / groups_; }
  /// Ascending; one may lie behind the last block.
  std::int64_t block(std::int64_t i) const {
    return i * groups_ + (i % 2 == 0 ? group_ : groups_ - 1 - group_);
  }

 private:
  std::int64_t blocks_, groups_, group_;
};

template <class T>
class AttentionBlocks {
 protected:
  /// Inputs 0, 1, 2 are q, k, v; `mask` is the number of the mask's, if the node has so many.
  AttentionBlocks(const KernelRequest& request, std::size_t mask, bool causal, double scale,
                  std::int64_t most_queries, std::int64_t most_keys);

  std::int64_t batches() const { return static_cast<std::int64_t>(q_.starts.size()); }
  /// Keys of the block from `key` on that some query of the block sees.
  std::int64_t width(std::int64_t query, std::int64_t rows, std::int64_t key) const;
  /// The scores of the block, by the transposed keys: q k^T in s, to be scaled, or with the mask if
  /// there is one.
  ScoreBlock<T> scores(const KernelCall& call, std::int64_t batch, std::int64_t query,
                       std::int64_t rows, std::int64_t key, std::int64_t width, const T* keys,
                       T* s) const;
  /// to = a b^T where the block's queries see keys, for a like its queries and the transposed b
  /// like its keys.
  void multiply_seen(const ScoreBlock<T>& block, const T* a, std::int64_t lda, std::int64_t depth,
                     const T* b, T* to) const;
  /// sum += w b, or w b, for the weights w of the block: 0 where a key is not seen. The rows of sum
  /// are `row` apart.
  void add_weighted(const ScoreBlock<T>& block, const T* w, const T* b, std::int64_t ldb,
                    std::int64_t columns, T* sum, std::int64_t row, bool adds) const;
  /// Matrices of the batch, from row `from` on.
  const T* rows_of(const KernelCall& call, int input, const Matrices& matrices, std::int64_t batch,
                   std::int64_t from) const {
    return reinterpret_cast<const T*>(call.in[input]) +
           matrices.starts[static_cast<std::size_t>(batch)] + from * matrices.row;
  }
  static T* rows_of(std::byte* result, const Matrices& matrices, std::int64_t batch,
                    std::int64_t from) {
    return reinterpret_cast<T*>(result) + matrices.starts[static_cast<std::size_t>(batch)] +
           from * matrices.row;
  }
  /// Zeros in so many rows and columns.
  static void clear(T* x, std::int64_t row, std::int64_t rows, std::int64_t columns) {
    for (std::int64_t r = 0; r < rows; ++r) std::fill_n(x + r * row, columns, T{0});
  }
  /// `columns` columns of the rows from..from+height of a matrix, as columns x height.
  void transpose(const T* from, std::int64_t ld, std::int64_t height, std::int64_t columns,
                 T* to) const {
    product_.transpose(columns, height, from, ld, to, packed_ld_);
  }
  void exp_in_place(T* x, std::int64_t n) const { exp_(x, x, x, x, n); }

  /// f(first, count, end) for runs of rows of the block, which see no key from `end` on: few rows
  /// where the block's triangle is, so that little is computed in vain.
  template <class F>
  static void for_bands(const ScoreBlock<T>& block, F f) {
    const std::int64_t height = block.seen >= block.width ? block.rows : band_rows;
    for (std::int64_t r = 0; r < block.rows; r += height) {
      const std::int64_t count = std::min(height, block.rows - r);
      const std::int64_t end = std::clamp<std::int64_t>(block.seen + r + count - 1, 0, block.width);
      f(r, count, end);
    }
  }

  /// Row step of a block of scores.
  static std::int64_t ld_of(std::int64_t width) { return (width + 15) / 16 * 16; }
  /// Bytes, a multiple of 64.
  static std::int64_t bytes(std::int64_t elements) {
    return (elements * std::int64_t{sizeof(T)} + 63) / 64 * 64;
  }
  std::string text() const;

  static constexpr std::int64_t band_rows = 16;

  std::int64_t queries_ = 0, keys_ = 0, depth_ = 0, value_depth_ = 0;
  BlockCut query_cut_, key_cut_;
  std::int64_t packed_ld_ = 0;
  Matrices q_, k_, v_;
  bool causal_;
  T scale_;
  BlockProduct<T> product_;
  const AttentionRows<T>* rows_;

 private:
  std::size_t mask_input_ = 0;  // 0: none
  bool mask_is_bool_ = false;
  std::int64_t mask_column_ = 0;
  Matrices mask_;
  TapeFn exp_;
};

}  // namespace blockgrad
